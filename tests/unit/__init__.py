"""Unit and property tests: no I/O."""
