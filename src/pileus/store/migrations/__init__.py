"""Numbered SQL files, run once each, in order, in one transaction each.

Portable SQL: TEXT, BIGINT, DOUBLE PRECISION; JSON is TEXT; a boolean is BIGINT 0 or 1. A file that has landed never changes.
Run by `store/schema.py`; a test compares the tables with the structs.
"""
