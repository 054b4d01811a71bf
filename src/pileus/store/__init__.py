"""The store: SQLite by default, PostgreSQL by URL, behind one small interface; SQL is written by hand and visible.

`database.py` is the interface, `sqlite.py` the default engine, `postgresql.py` the other, `open.py` chooses,
`tables.py` maps structs to rows, `listing.py` pages and filters, `migrations/` holds numbered SQL.
One file a resource holds its named statements and its transactions.
Called by `reconcile`, `api` and `cli`; a node never imports it. A function that writes takes a Transaction and is
called through `Database.write`; one that reads takes a Reader. Quota is counted inside the insert's transaction.
"""
