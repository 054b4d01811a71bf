"""Lists of identity resources from the store: of a page that is asked for, only that page is read and shown."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from pileus.api.identity.documents import Document, address_of, collection
from pileus.api.request import Request
from pileus.model.base import Resource
from pileus.model.errors import Invalid, NotFound
from pileus.store.database import Reader
from pileus.store.listing import Condition, Listing, list_rows
from pileus.store.tables import ResourceTable

R = TypeVar("R", bound=Resource)
CHUNK = 500
OLDEST_FIRST = [("created_at", "asc")]


async def listed(
    request: Request,
    key: str,
    table: ResourceTable[R],
    conditions: list[Condition],
    shown: Callable[[R], Document],
    kept: Callable[[list[R]], list[R]] | None = None,
) -> Document:
    """The list as Keystone shows it, oldest first. `kept`: a filter that SQL can't say; with it, or with an inexact one, all is read."""
    limit = page_size(request)
    if not limit or kept is not None or any("__" in name for name, _ in request.queries):
        documents: list[Document] = []
        async for rows in _chunks(request.cloud.db, table, conditions):
            documents += [shown(row) for row in (kept(rows) if kept else rows)]
        return collection(request, key, documents)
    marker = request.query.get("marker")
    if marker is not None and await table.get(request.cloud.db, marker) is None:
        raise NotFound(f"Marker could not be found: {marker}", status=400, field="marker")
    rows = await list_rows(request.cloud.db, table, Listing(conditions=conditions, sort=OLDEST_FIRST, marker=marker, limit=limit + 1))
    page = rows[:limit]
    following = address_of(request, page[-1].id) if len(rows) > limit else None
    links = {"next": following, "self": address_of(request), "previous": None}
    return {key: [shown(row) for row in page], "links": links, **({"truncated": True} if following else {})}


async def _chunks(db: Reader, table: ResourceTable[R], conditions: list[Condition]) -> AsyncIterator[list[R]]:
    """All rows, so many at a time that other requests get their turn in between."""
    where, args = "", list[Any]()
    while True:
        listing = Listing(conditions=conditions, sort=OLDEST_FIRST, limit=CHUNK, where=where, args=args)
        rows = await list_rows(db, table, listing)
        yield rows
        if len(rows) < CHUNK:
            return
        where, args = f"({table.name}.created_at, {table.name}.id) > (?, ?)", [rows[-1].created_at, rows[-1].id]
        await asyncio.sleep(0)


def page_size(request: Request) -> int | None:
    """The limit that was asked for; None for no limit."""
    text = request.query.get("limit")
    if text is not None and not re.fullmatch(r"[0-9]{1,9}", text):
        raise Invalid(f"Invalid input for query parameter 'limit': '{text}' is not a non-negative integer.", field="limit")
    return None if text is None else int(text)
