"""Keystone's ways: lists with links and filters, attributes that it doesn't know, words for what is not there."""

import re
import uuid
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus import clock
from pileus.api.cloud import InCloud
from pileus.api.identity.tokens import FernetTokens
from pileus.api.request import Request
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.store.database import Transaction

T = TypeVar("T")
Document = dict[str, Any]

Name64 = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\S")]
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\S")]
Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9-]+\Z")]

EARLIEST, LATEST = -62135596800.0, 253402300799.0
"""The years 1 to 9999, which can be written; a time with a zone may lie beyond."""

COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda value, wanted: wanted in value,
    "icontains": lambda value, wanted: wanted.lower() in value.lower(),
    "startswith": lambda value, wanted: value.startswith(wanted),
    "istartswith": lambda value, wanted: value.lower().startswith(wanted.lower()),
    "endswith": lambda value, wanted: value.endswith(wanted),
    "iendswith": lambda value, wanted: value.lower().endswith(wanted.lower()),
    "iexact": lambda value, wanted: value.lower() == wanted.lower(),
}


def tokens_of(request: InCloud) -> FernetTokens:
    """The cloud's tokens, as the identity service made them."""
    return cast(FernetTokens, request.cloud.tokens)


async def write(request: Request, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Run a transaction; what it revoked counts when this returns."""
    result = await request.cloud.db.write(work)
    await tokens_of(request).refresh()
    return result


def new_id() -> str:
    """An id as Keystone makes them."""
    return uuid.uuid4().hex


def fresh(key: str | None = None) -> dict[str, Any]:
    """Id and times of a new resource."""
    now = clock.now()
    return {"id": key or new_id(), "created_at": now, "updated_at": now}


def timestamp(moment: float | None) -> str | None:
    """A time as Keystone writes it."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str, field: str) -> float:
    """A time that a client wrote; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise Invalid(f"Invalid input for field '{field}': '{text}' is not an ISO 8601 date and time.", field=field) from error
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return min(max(seconds, EARLIEST), LATEST)


def self_link(request: Request, *parts: str) -> dict[str, str]:
    """The `links` of a resource."""
    return {"self": "/".join([request.service_url, "v3", *parts])}


def found(resource: T | None, kind: str, key: str) -> T:
    """The resource, or NotFound in Keystone's words."""
    if resource is None:
        raise NotFound(f"Could not find {kind}: {key}.", kind=kind, id=key)
    return resource


def duplicate(kind: str, name: str) -> Conflict:
    """The fault for a name that is taken."""
    return Conflict(f"Conflict occurred attempting to store {kind} - Duplicate entry found with name {name}.", kind=kind)


def extras(request: Request, key: str, known: Iterable[str]) -> dict[str, Any]:
    """The attributes of the body's object that we don't know: they are kept and shown."""
    hidden = {*known, "id", "links"}
    return {name: value for name, value in request.raw[key].items() if name not in hidden}


def changes(body: msgspec.Struct) -> dict[str, Any]:
    """The fields of a body that were sent."""
    return {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET}


def merged(old: dict[str, Any], sent: dict[str, Any] | UnsetType) -> dict[str, Any]:
    """Options or extras after an update: null takes one away."""
    if sent is UNSET:
        return old
    return {name: value for name, value in {**old, **sent}.items() if value is not None}


def boolean(text: str) -> bool:
    """A flag in a query: there means yes, unless it says no."""
    return text.strip().lower() not in ("0", "false", "no", "off", "f", "n")


def wanted(request: Request, exact: Iterable[str], flags: Iterable[str] = ()) -> dict[str, Any]:
    """The exact filters of a list's query: what may go into SQL as `column = value`."""
    filters: dict[str, Any] = {name: request.query[name] for name in exact if name in request.query}
    return filters | {name: boolean(request.query[name]) for name in flags if name in request.query}


def collection(request: Request, key: str, documents: list[Document]) -> Document:
    """A list as Keystone shows it: inexact filters, then marker and limit, then links."""
    kept = [one for one in documents if _matches(request, one)]
    page, following = _page(request, kept)
    document: Document = {key: page, "links": {"next": following, "self": address_of(request), "previous": None}}
    if following is not None:
        document["truncated"] = True
    return document


def _matches(request: Request, document: Document) -> bool:
    for name, text in request.queries:
        attribute, separator, comparison = name.rpartition("__")
        compare = COMPARISONS.get(comparison) if separator else None
        value = document.get(attribute)
        if compare and isinstance(value, str) and not compare(value, text):
            return False
    return True


def _page(request: Request, documents: list[Document]) -> tuple[list[Document], str | None]:
    marker, limit = request.query.get("marker"), request.query.get("limit")
    if marker is not None:
        places = [index for index, one in enumerate(documents) if one.get("id") == marker]
        if not places:
            raise NotFound(f"Marker could not be found: {marker}", status=400, field="marker")
        documents = documents[places[0] + 1 :]
    if limit is None:
        return documents, None
    if not re.fullmatch(r"[0-9]{1,9}", limit):
        raise Invalid(f"Invalid input for query parameter 'limit': '{limit}' is not a non-negative integer.", field="limit")
    page = documents[: int(limit)] if int(limit) else documents
    if len(page) == len(documents) or "id" not in page[-1]:
        return page, None
    return page, address_of(request, page[-1]["id"])


def address_of(request: Request, marker: str | None = None) -> str:
    """The list's own address; with a marker, that of what comes after it."""
    queries = [pair for pair in request.queries if marker is None or pair[0] != "marker"]
    if marker is not None:
        queries.append(("marker", marker))
    return f"{request.base_url}{request.path}" + (f"?{urlencode(queries)}" if queries else "")
