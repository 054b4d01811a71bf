"""Reconcilers: bring what is towards what is wanted, one idempotent step after another.

`engine.py` runs them: wake-ups make it quick, a periodic scan makes it certain. One file a resource, each with a class that has
`name`, `step(id)` (read, compare, do one thing, return) and `scan()` (what needs a look).
No retry loop inside a step: the next step is the retry.
Started by the `cluster` role; reads and writes the store, asks nodes over the bus, is never called by the API but by a wake-up.
"""
