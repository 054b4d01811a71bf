"""Frozen structs and enums of every resource, and the messages between the levels.

Called by every layer; imports nothing of pileus and does no I/O. A struct that is stored has one field for each column of its
table (see `store/tables.py`); a field that is not a string, number or boolean is stored as JSON text.
One file a resource; the same file name holds its decisions in `core`, its SQL in `store`, its loop in `reconcile`, its routes in `api`.
"""
