"""Wake-ups, requests to nodes and events between the levels; never a source of truth.

`local.py` does it inside one process, `pair.py` between the two processes of a separated cloud, `nats.py` between hosts; `streams.py`
carries the bytes of consoles. `supervision.py` is not for hosts: by it managers without privileges ask root's process to fence one.
What is lost on the bus costs time only: reconcilers scan, nodes report again.
Used by `reconcile`, `api` and the assembly in `cli`; imports only `model` and `core`.
"""
