"""Network drivers: realize routing domains on this host.

`driver.py` is the contract; `linux` does it with namespaces, bridges, nftables and dnsmasq, `simulated` remembers only.
Called by the agent alone. What the rules and files say is decided in `core`; here it is put in place, atomically.
"""
