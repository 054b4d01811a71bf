"""The Placement API: resource providers, their inventories and traits, allocations, and candidates for them.

`routes.py` is the table, `policy.py` the actions, `history.py` the microversions 1.0 to 1.39 as data, `queries.py` the grammar of query
parameters, one file a resource. Handlers are written for the newest version; searches run over `store/provider_view.py`, and
whatever is changed is guarded by the provider's or the consumer's generation. Called by the chain alone.
"""
