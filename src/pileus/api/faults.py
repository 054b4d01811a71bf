"""The one place that maps errors to HTTP: a status for each class, a shape for each service."""

import html
from http import HTTPStatus
from typing import Any

from pileus.api.request import Request, encode
from pileus.model import errors

STATUS: dict[type[errors.PileusError], int] = {
    errors.Invalid: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.QuotaExceeded: 403,
    errors.NotFound: 404,
    errors.NotAcceptable: 406,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.NotImplementedYet: 501,
    errors.NodeFailed: 500,
    errors.NoCapacity: 503,
    errors.Unavailable: 503,
}

JSON = {"Content-Type": "application/json"}


def status_of(error: errors.PileusError) -> int:
    """The HTTP status of an error; its `status` datum wins (Neutron's quota is a 409, Nova's a 403)."""
    return int(error.data.get("status") or STATUS.get(type(error), 500))


def title_of(status: int) -> str:
    """Not Found for 404."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def keystone_fault(status: int, message: str, request: Request, data: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """{"error": {"code", "title", "message"}}."""
    return JSON, encode({"error": {"code": status, "message": message, "title": title_of(status)}})


NOVA_NAMES = {
    400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod", 409: "conflictingRequest",
    413: "overLimit", 415: "badMediaType", 429: "overLimit", 501: "notImplemented", 503: "serviceUnavailable",
}  # fmt: skip


def nova_fault(status: int, message: str, request: Request, data: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """{"itemNotFound": {"code", "message"}}; a version that is not supported has a shape of its own."""
    if status == 406 and "minimum" in data:
        fault = {
            "code": "compute.microversion-unsupported",
            "request_id": request.id,
            "status": 406,
            "title": "Not Acceptable",
            "detail": message,
            "max_version": data["maximum"],
            "min_version": data["minimum"],
            "links": [],
        }
        return JSON, encode({"errors": [fault], "computeFault": {"code": 406, "message": message}})
    return JSON, encode({NOVA_NAMES.get(status, "computeFault"): {"code": status, "message": message}})


def neutron_fault(status: int, message: str, request: Request, data: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """{"NeutronError": {"type", "message", "detail"}}; `type` is the datum of that name."""
    default = {400: "HTTPBadRequest", 403: "PolicyNotAuthorized", 404: "HTTPNotFound", 409: "Conflict", 501: "HTTPNotImplemented"}
    kind = data.get("type") or default.get(status, "NeutronException")
    return JSON, encode({"NeutronError": {"type": kind, "message": message, "detail": ""}})


def glance_fault(status: int, message: str, request: Request, data: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """Glance answers errors as a small HTML page."""
    title = f"{status} {title_of(status)}"
    head = f"<html>\n <head>\n  <title>{title}</title>\n </head>\n"
    text = f"{head} <body>\n  <h1>{title}</h1>\n  {html.escape(message)}<br /><br />\n\n\n </body>\n</html>"
    return {"Content-Type": "text/html; charset=UTF-8"}, text.encode()


def placement_fault(status: int, message: str, request: Request, data: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """{"errors": [{"status", "title", "detail", "code" (from 1.23), "request_id"}]}."""
    fault: dict[str, Any] = {"status": status, "title": title_of(status), "detail": message, "request_id": request.id}
    if request.version >= (1, 23):
        fault["code"] = data.get("code", "placement.undefined_code")
    if "minimum" in data:
        fault |= {"max_version": data["maximum"], "min_version": data["minimum"]}
    return JSON, encode({"errors": [fault]})
