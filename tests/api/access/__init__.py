"""Who may do what, as the tests expect it: one file a service, read by `tests/api/test_access.py` (see its docstring)."""
