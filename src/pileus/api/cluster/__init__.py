"""Pileus's own API of hosts: how a host joins a cluster, fetches images' content, and how an operator sees and steers hosts.

It is none of OpenStack's and stands in no catalog. `routes.py` is the table; `joining.py` admits hosts and gives out images' content,
`snapshots.py` takes in what hosts have copied, `hosts.py` lists hosts and changes what an operator may change.
Called by `pileus serve --role node --join`, hosts' agents and `pileus host`.
It may not drive hosts itself: it writes what is wanted and wakes the reconcilers.
"""
