"""Neutron's API v2.0: networks, subnets, ports, routers, floating IPs, security groups.

A resource is data: `attributes.py` says what an attribute is, `validators.py` what values it takes, and each resource's file holds its
table of attributes and its hooks (create, update, delete, view) as a `Kind`. `handlers.py` has the five handlers that serve every kind,
`listing.py` the conventions of lists. Hooks run inside the transaction; they wake the routing reconciler, they never talk to a node.
"""
