"""Tests of the public API: in one process by `harness.py`, or with the released clients over a socket."""
