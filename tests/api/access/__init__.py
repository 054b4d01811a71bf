"""Who may do what, as the tests expect it: one file a service, read by `tests/api/test_access.py` (see its docstring)."""

NOBODY = frozenset[str]()
ADMIN = frozenset({"admin"})
MANAGERS = ADMIN | {"manager"}
MEMBERS = MANAGERS | {"member", "other_project_member"}
READERS = MEMBERS | {"reader"}  # whoever has a token
PUBLIC = READERS | {"nobody"}
