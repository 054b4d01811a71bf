"""GET /v2/images: filters, sorting and pages as Glance has them."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from pileus.api.image import writers
from pileus.api.image.images import view
from pileus.api.request import Request
from pileus.model.errors import Invalid
from pileus.model.images import ImageStatus, MemberStatus, Visibility
from pileus.store import images as store
from pileus.store.listing import Condition, Listing, list_rows

DEFAULT_LIMIT = 25
SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
SEVERAL = ("container_format", "disk_format", "id", "name", "status")  # filters that know `in:`
SINGLE = ("checksum", "os_hash_algo", "os_hash_value", "owner")
NUMBERS = ("min_disk", "min_ram", "size", "virtual_size")
BOOLEANS = ("protected", "os_hidden")
TIMES = ("created_at", "updated_at")
PAGING = ("limit", "marker", "sort", "sort_key", "sort_dir")
TIME_OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte")

Where = tuple[str, list[Any]]


async def index(request: Request) -> dict[str, Any]:
    """The images that the caller sees, one page of them."""
    limit = _limit(request)
    listing = await _listing(request, limit)
    found = await list_rows(request.cloud.db, store.IMAGES, listing) if limit else []
    if await writers.reclaim(request.cloud, found):
        found = await list_rows(request.cloud.db, store.IMAGES, listing)
    rest = [(name, value) for name, value in request.queries if name != "marker"]
    first = f"/v2/images?{urlencode(rest)}" if rest else "/v2/images"
    page: dict[str, Any] = {"images": [view(request, image) for image in found], "first": first, "schema": "/v2/schemas/images"}
    if found and len(found) == limit:
        page["next"] = f"/v2/images?{urlencode([*rest, ('marker', found[-1].id)])}"
    return page


async def _listing(request: Request, limit: int) -> Listing:
    marker = request.query.get("marker")
    if marker is not None and await store.visible(request.cloud.db, marker, request.identity) is None:
        raise Invalid(f"Marker {marker} could not be found.", field="marker")
    conditions: list[Condition] = []
    wheres = [_shown(request)]
    hidden = False
    for name, value in request.queries:
        if name in PAGING or name in ("visibility", "member_status"):
            continue
        hidden = hidden or name == "os_hidden"
        if name in FILTERS:
            conditions.extend(FILTERS[name](name, value))
        elif name in TIMES:
            wheres.append(_time(name, value))
        elif name == "tag":
            wheres.append((store.HAS_TAG, [value]))
        elif name in ("changes-since", "deleted"):
            raise Invalid(f"The '{name}' filter is not supported: deleted images are not kept.", field=name)
        else:
            wheres.append((store.HAS_PROPERTY, [name, value]))
    if not hidden:
        conditions.append(Condition(column="os_hidden", value=False))
    text = " AND ".join(clause for clause, _ in wheres)
    args = [value for _, values in wheres for value in values]
    return Listing(conditions=conditions, where=text, args=args, sort=sort_order(request), marker=marker, limit=limit)


def _shown(request: Request) -> Where:
    visibility = request.query.get("visibility")
    if visibility is not None and visibility != "all" and visibility not in Visibility.__members__.values():
        raise Invalid(f"Invalid visibility value: {visibility}", field="visibility")
    status = request.query.get("member_status", MemberStatus.ACCEPTED)
    if status != "all" and status not in MemberStatus.__members__.values():
        raise Invalid(f"Invalid status: {status}", field="member_status")
    return store.listed(request.identity, visibility, str(status))


def _limit(request: Request) -> int:
    text = request.query.get("limit")
    if text is None:
        return DEFAULT_LIMIT
    return min(_whole("limit", text), request.cloud.config.list_limit)


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid(f"{name} must be a whole number, zero or more.", field=name)
    return int(text)


def sort_order(request: Request) -> list[tuple[str, str]]:
    """[(column, direction)] of `sort=name:asc,size` or of `sort_key` and `sort_dir`; newest first when there is neither."""
    new = request.query.get("sort")
    keys, directions = request.all_queries("sort_key"), request.all_queries("sort_dir")
    if new is not None:
        if keys or directions:
            raise Invalid("Old and new sorting syntax cannot be combined", field="sort")
        pairs = [part.strip().partition(":")[::2] for part in new.split(",")]
    else:
        if len(directions) > 1 and len(directions) != len(keys or SORT_KEYS[:1]):
            raise Invalid("Number of sort dirs does not match the number of sort keys", field="sort_dir")
        keys = keys or ["created_at"]
        directions = directions * len(keys) if len(directions) == 1 else directions or [""] * len(keys)
        pairs = list(zip(keys, directions, strict=True))
    order: dict[str, str] = {}
    for key, direction in pairs:
        if key not in SORT_KEYS:
            raise Invalid(f"Invalid sort key: {key}. It must be one of the following: {', '.join(SORT_KEYS)}.", field="sort_key")
        if direction not in ("", "asc", "desc"):
            raise Invalid(f"Invalid sort direction: {direction}. It must be asc or desc.", field="sort_dir")
        order.setdefault(key, direction or "desc")
    order.setdefault("created_at", "desc")
    return list(order.items())


def _several(name: str, value: str) -> list[Condition]:
    if not value.startswith("in:"):
        if name == "status" and value not in ImageStatus.__members__.values():
            raise Invalid(f"Invalid status value: {value}", field=name)
        return [Condition(column=name, value=value)]
    try:
        values = next(csv.reader([value[3:]], strict=True, skipinitialspace=True), [])
    except csv.Error as error:
        raise Invalid(f"Invalid filter value {value}: {error}.", field=name) from error
    return [Condition(column=name, operator="in", value=values)]


def _single(name: str, value: str) -> list[Condition]:
    return [Condition(column=name, value=value)]


def _number(name: str, value: str) -> list[Condition]:
    return [Condition(column=name, value=_whole(name, value))]


def _bound(name: str, value: str) -> list[Condition]:
    return [Condition(column="size", operator="gte" if name == "size_min" else "lte", value=_whole(name, value))]


def _boolean(name: str, value: str) -> list[Condition]:
    if value.lower() not in ("true", "false"):
        raise Invalid(f"Invalid value '{value}' for '{name}': it must be true or false.", field=name)
    return [Condition(column=name, value=value.lower() == "true")]


FILTERS: dict[str, Callable[[str, str], list[Condition]]] = {
    **dict.fromkeys(SEVERAL, _several),
    **dict.fromkeys(SINGLE, _single),
    **dict.fromkeys(NUMBERS, _number),
    **dict.fromkeys(("size_min", "size_max"), _bound),
    **dict.fromkeys(BOOLEANS, _boolean),
}


def _time(name: str, value: str) -> Where:
    """`gt:2026-01-31T12:00:00Z`. Times are shown in whole seconds, so a second is what is compared with."""
    operator, colon, text = value.partition(":")
    if operator not in TIME_OPERATORS or not colon:
        operator, text = "eq", value
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(
            f"Invalid time '{value}' for '{name}': write it as 2026-01-31T12:00:00Z, after an operator and a colon.", field=name
        ) from error
    start = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    column = f"images.{name}"
    return {
        "eq": (f"({column} >= ? AND {column} < ?)", [start, start + 1]),
        "neq": (f"({column} < ? OR {column} >= ?)", [start, start + 1]),
        "gt": (f"{column} >= ?", [start + 1]),
        "gte": (f"{column} >= ?", [start]),
        "lt": (f"{column} < ?", [start]),
        "lte": (f"{column} < ?", [start + 1]),
    }[operator]
