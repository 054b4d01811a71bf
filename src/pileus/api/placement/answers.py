"""What Placement's answers have in common: addresses, and the headers that came with 1.15."""

from email.utils import formatdate
from typing import Any

from pileus import clock
from pileus.api.request import Request, Response
from pileus.model.errors import NotAcceptable


def path(request: Request, *parts: str) -> str:
    """The path of something in this service, as links hold it."""
    return "/".join(["", request.service.prefix, *parts])


def answer(request: Request, document: Any, modified: float | None = None, status: int | None = None) -> Response:
    """A document with the time of its last change (now, when that is not known)."""
    if document is not None:
        accept_json(request)
    when = formatdate(clock.now() if modified is None else modified, usegmt=True)
    return Response(status or request.route.success, document, {"Cache-Control": "no-cache", "Last-Modified": when})


def created(request: Request, location: str, document: Any = None, status: int = 201) -> Response:
    """An answer that says where the new thing is."""
    response = answer(request, document, status=status)
    response.headers["Location"] = f"{request.base_url}{location}"
    return response


def accept_json(request: Request) -> None:
    """NotAcceptable when the client wants no JSON."""
    accept = request.headers.get("accept", "")
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if accept and kinds.isdisjoint({"*/*", "application/*", "application/json"}):
        raise NotAcceptable("Only application/json is provided")
