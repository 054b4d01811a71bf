"""The public API: OpenStack's REST services on one listener, by path.

`chain.py` is the way of every request, `routes.py` what a route is, `faults.py` maps errors to each service's shape, `policy.py` holds
the predicates, `versions.py` the microversions. One folder a service, each with `routes.py` (a table that reads on one screen),
`policy.py` (action -> predicate) and one file a resource. Handlers read the store and write desired state; they never talk to a node, but
for consoles and diagnostics through the bus. `api` does not import `node`.
"""
