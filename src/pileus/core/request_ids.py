"""The request that the work at hand is done for: set by the API and by the reconcilers, written into every line of the log."""

from contextvars import ContextVar

CURRENT: ContextVar[str] = ContextVar("request_id", default="")
"""`req-` and a UUID, as in X-Openstack-Request-Id; empty where nobody asked for what is done."""
