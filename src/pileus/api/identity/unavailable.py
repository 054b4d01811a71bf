"""What Keystone has and pileus does not: each such path says so, instead of being not found."""

from functools import partial

from pileus.api.request import Request
from pileus.api.routes import Route, route
from pileus.model.errors import NotImplementedYet

PLACES = {
    "/v3/OS-FEDERATION/saml2": "SAML is not available; log in by OpenID Connect, or make users here.",
    "/v3/auth/OS-FEDERATION/saml2": "SAML is not available; this cloud's users can't go to others by it.",
}


async def unavailable(message: str, request: Request) -> None:
    """501, with what to do instead."""
    raise NotImplementedYet(message)


def unavailable_routes() -> list[Route]:
    """Every method on every place, and below it."""
    return [
        route(method, path, partial(unavailable, message), "identity:unavailable")
        for place, message in PLACES.items()
        for path in (place, place + "/{rest:path}")
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ]
