"""The compute service: Nova's API 2.1, newest microversion first.

`routes.py` is the table, `policy.py` who may do what, `history.py` what each microversion
changed (older forms are transforms of the newest).
One file a resource; servers take five: `servers.py` (list, show, change, delete), `server_views.py` (how they look), `server_create.py`,
`server_actions.py`, `server_parts.py` (metadata, tags, addresses ...). `fields.py` holds the types of request fields.
Handlers write what is wanted and wake the reconciler; only consoles and diagnostics ask a node, through the bus.
"""
