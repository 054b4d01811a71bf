"""Version documents."""

from typing import Any

from pileus.api.compute.history import HISTORY
from pileus.api.request import Request
from pileus.api.versions import dotted

UPDATED = "2013-07-23T11:33:21Z"
MEDIA = [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": dotted(HISTORY.maximum),
        "min_version": dotted(HISTORY.minimum),
        "updated": UPDATED,
        "links": [{"rel": "self", "href": f"{request.service_url}/v2.1/"}],
    }


def _old(request: Request) -> dict[str, Any]:
    """The name of before microversions: clients and the interoperability guidelines look for it first."""
    place = {"rel": "self", "href": f"{request.service_url}/v2/"}
    return {"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": "2011-01-21T11:33:21Z", "links": [place]}


async def index(request: Request) -> dict[str, Any]:
    """GET /."""
    return {"versions": [_old(request), _version(request)]}


async def show_old(request: Request) -> dict[str, Any]:
    """GET /v2/."""
    return {"version": _old(request) | {"media-types": MEDIA}}


async def show(request: Request) -> dict[str, Any]:
    """GET /v2.1/."""
    return {"version": _version(request) | {"media-types": MEDIA}}
