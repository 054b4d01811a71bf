"""Keystone's Identity API v3.

`routes.py` is the table, `policy.py` who may do what, `tokens.py` the token format that every service validates, `auth.py` how a login
becomes a token; then one file a resource. `documents.py` holds Keystone's ways with lists, links and names.
Called by `api/chain.py`; `cli` makes the FernetTokens. Every write goes through `documents.write`, so that what it revokes counts at once.
"""
