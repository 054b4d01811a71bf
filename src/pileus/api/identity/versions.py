"""The discovery documents of the identity service."""

from typing import Any

from pileus.api.request import Request, Response

UPDATED = "2019-07-19T00:00:00Z"


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": UPDATED,
        "links": [{"rel": "self", "href": f"{request.service_url}/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


async def versions(request: Request) -> Response:
    """GET /: what there is to choose from."""
    return Response(300, {"versions": {"values": [_version(request)]}}, {"Location": f"{request.service_url}/v3/"})


async def version(request: Request) -> dict[str, Any]:
    """GET /v3."""
    return {"version": _version(request)}
