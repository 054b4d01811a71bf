"""How this service writes a row of its tables of routes."""

from typing import Any

from pileus.api.routes import Handler, Route, route


def at(method: str, path: str, handler: Handler, policy: str, *, since: int | None = None, until: int | None = None, **rest: Any) -> Route:
    """A route below /v2.1; the policy's name without Nova's prefix, versions as the number after `2.`."""
    return route(
        method,
        f"v2.1{path}",
        handler,
        policy if policy.startswith("compute:") else f"os_compute_api:{policy}",
        since=None if since is None else (2, since),
        until=None if until is None else (2, until),
        **rest,
    )
