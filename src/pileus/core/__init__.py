"""Pure decisions: placement, quota, differences, address allocation, and the text of argv, nft rules, dnsmasq and metadata.

Called by every layer above. No clock, no randomness, no I/O: these come in as arguments, so that each decision
can be tested by its values alone. Imports only `model`.
"""
