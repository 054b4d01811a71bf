"""Types of the fields that requests bring, times as Nova writes them, and query parameters by microversion."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from msgspec import Meta

from pileus.api.request import Request, Version
from pileus.core.patterns import Pattern
from pileus.model.errors import Invalid

Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?!\s)[^\x00-\x1f\x7f]+(?<!\s)\Z")]
ZoneName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?!\s)[^\x00-\x1f\x7f:]+(?<!\s)\Z")]
Description = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
HostName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9-._]*\Z")]
Uuid = Annotated[str, Meta(pattern=r"^(?i:[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12})\Z")]
UuidOrNone = Annotated[str, Meta(pattern=r"^((?i:[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}))?\Z")]
Tag = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^,/]*\Z")]
MetadataKey = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9-_:. ]{1,255}\Z")]
MetadataValue = Annotated[str, Meta(max_length=255)]
Metadata = dict[MetadataKey, MetadataValue]
Flag = bool | Literal[
    "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes",
    "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"
]  # fmt: skip
Count = Annotated[int, Meta(ge=1)] | Annotated[str, Meta(pattern=r"^0{0,9}[1-9][0-9]{0,17}\Z")]
Amount = Annotated[int, Meta(ge=0, le=0x7FFFFFFF)] | Annotated[str, Meta(pattern=r"^[0-9]{1,10}\Z")]
Limit = Annotated[int, Meta(ge=-1, le=0x7FFFFFFF)] | Annotated[str, Meta(pattern=r"^(-1|[0-9]{1,10})\Z")]
DiskConfig = Literal["AUTO", "MANUAL"]
UserData = Annotated[str, Meta(max_length=65535)]
DIGITS = 18
"""The most of a whole number in a query: what a column of the store can hold."""
EARLIEST, LATEST = -62135596800.0, 253402300799.0
"""The years 1 to 9999, which can be written; a time with a zone may lie beyond."""
TRUE = frozenset({"true", "1", "on", "yes", "t", "y"})
FALSE = frozenset({"false", "0", "off", "no", "f", "n"})


def flag(value: "bool | str | None") -> bool:
    """A Flag as a bool."""
    return value.lower() in TRUE if isinstance(value, str) else bool(value)


def query_flag(request: Request, name: str, default: bool | None = None) -> bool | None:
    """A query parameter as a bool; Invalid when it is none."""
    text = request.query.get(name)
    if text is None:
        return default
    if text.strip().lower() in TRUE or text == "":
        return True
    if text.strip().lower() in FALSE:
        return False
    raise Invalid(f"Invalid input for query parameter {name}. Value: {text}. It is not a boolean.", field=name)


def query_integer(request: Request, name: str, default: int | None = None) -> int | None:
    """A query parameter as a whole number from 0 on."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > DIGITS:
        raise Invalid(f"Invalid input for query parameters {name}. Value: {text[:80]}. It is not a non-negative integer.", field=name)
    return int(text)


def query_time(request: Request, name: str) -> float | None:
    """A query parameter as seconds since the epoch."""
    text = request.query.get(name)
    return None if text is None else parse_time(text, name)


def parse_time(text: str, field: str) -> float:
    """An ISO 8601 time as seconds since the epoch; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text.strip().replace(" ", "T"))
    except ValueError as error:
        raise Invalid(f"Invalid input for query parameters {field}. Value: {text}. '{text}' is not a 'date-time'", field=field) from error
    return min(max((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), EARLIEST), LATEST)


def decoded(text: str, field: str) -> bytes:
    """The bytes of a base64 field."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"Invalid input for field/attribute {field}. It is not a 'base64'", field=field) from error


def iso(moment: float | None) -> str | None:
    """2026-11-21T10:46:48Z."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_micro(moment: float | None) -> str | None:
    """2026-11-21T10:46:48.000000: how Nova writes a time that came straight from its database."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def check_queries(request: Request, known: Mapping[str, Version], strict_since: Version) -> None:
    """Drop query parameters that the request's version does not know; from `strict_since` on refuse them."""
    for name in [name for name in request.query if name not in known or request.version < known[name]]:
        if request.version >= strict_since:
            raise Invalid(
                f"Invalid input for query parameters: Additional properties are not allowed ('{name}' was unexpected)", field=name
            )
        del request.query[name]
    request.queries = [(name, value) for name, value in request.queries if name in request.query]


def matches(pattern: str, field: str) -> Callable[[str], bool]:
    """A filter's regular expression, as a test of a text; Invalid when it is none."""
    try:
        return Pattern(pattern).found_in
    except Invalid as error:
        raise Invalid(f"Invalid input for query parameters {field}. Value: {pattern}. {error.message}", field=field) from error


def links(request: Request, kind: str, key: str) -> list[dict[str, str]]:
    """Where a resource lies, and its address without a version."""
    bookmark = f"{request.service_url}{request.project_path}/{kind}/{key}"
    return [{"rel": "self", "href": f"{version_url(request)}/{kind}/{key}"}, {"rel": "bookmark", "href": bookmark}]


def version_url(request: Request) -> str:
    """The address of the version, with the project's id when the client put it there."""
    return f"{request.service_url}/v2.1{request.project_path}"


def next_link(request: Request, kind: str, marker: str) -> list[dict[str, Any]]:
    """The link to the page after this one."""
    queries = [(name, value) for name, value in request.queries if name != "marker"]
    return [{"rel": "next", "href": f"{version_url(request)}/{kind}?{urlencode([*queries, ('marker', marker)])}"}]


def page_limit(request: Request) -> int:
    """How many of a list to return: what is asked for, at most the cloud's limit."""
    most = request.cloud.config.list_limit
    asked = query_integer(request, "limit")
    return most if asked is None else min(asked, most)
