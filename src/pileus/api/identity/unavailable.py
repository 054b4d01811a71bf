"""What Keystone has and pileus does not: each such path says so, instead of being not found."""

from functools import partial

from pileus.api.request import Request
from pileus.api.routes import Route, route
from pileus.model.errors import NotImplementedYet

AUTH = "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth"
PLACES = {
    AUTH: "Logins of federated users are not available; make users here.",
    "/v3/OS-FEDERATION/saml2": "SAML is not available; make users here.",
    "/v3/auth/OS-FEDERATION": "Federated identity is not available; log in by password or application credential.",
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
