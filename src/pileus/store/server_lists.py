"""Which servers a list holds: filters in SQL where SQL can say them, the rest over a few columns in memory; ids and their stamps only."""

from collections.abc import Callable
from typing import Any

from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.store.database import Reader, Row
from pileus.store.listing import Condition, Listing, page_clause
from pileus.store.servers import SERVERS

Test = Callable[[Any], bool]


class ServerQuery(Model, frozen=True, kw_only=True):
    """What a list is asked for. `tests` look at a column as the database has it; `address_tests` at each address of the server."""

    conditions: list[Condition] = []
    where: str = ""
    args: list[Any] = []
    sort: list[tuple[str, str]] = []
    marker: str | None = None
    limit: int
    tests: list[tuple[str, Test]] = []
    address_tests: list[Test] = []


async def find(db: Reader, query: ServerQuery) -> list[Row]:
    """(id, updated_at, name) of one page, and of one server more when there are more."""
    await _check_marker(db, query)
    filtered = bool(query.tests or query.address_tests)
    listing = Listing(
        conditions=query.conditions,
        sort=query.sort,
        marker=query.marker,
        limit=None if filtered else query.limit + 1,
        where=query.where,
        args=query.args,
    )
    clause, args = await page_clause(db, SERVERS, listing)
    columns = "".join(f", {column}" for column, _ in query.tests)
    rows = await db.all(f"SELECT id, updated_at, name{columns} FROM servers WHERE {clause}", *args)  # noqa: S608
    if query.tests:
        rows = [row for row in rows if all(test(row[index]) for index, (_, test) in enumerate(query.tests, 3))]
    if query.address_tests:
        having = await _addresses(db, [row[0] for row in rows])
        rows = [row for row in rows if all(any(map(test, having.get(row[0], []))) for test in query.address_tests)]
    return rows[: query.limit + 1]


async def _check_marker(db: Reader, query: ServerQuery) -> None:
    """Invalid when the marker is another project's: the order of a page would tell of it."""
    if query.marker is None:
        return
    owner = await db.value("SELECT project_id FROM servers WHERE id = ?", query.marker)
    if owner is None or any(one.column == "project_id" and one.value != owner for one in query.conditions):
        raise Invalid(f"marker [{query.marker}] not found", field="marker")


async def _addresses(db: Reader, server_ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for start in range(0, len(server_ids), 1000):
        part = server_ids[start : start + 1000]
        marks = ", ".join("?" * len(part))
        fixed = "SELECT p.device_id, a.ip_address FROM addresses a JOIN ports p ON p.id = a.port_id"
        floating = "SELECT p.device_id, f.floating_ip_address FROM floating_ips f JOIN ports p ON p.id = f.port_id"
        for sql in (fixed, floating):
            for server_id, address in await db.all(f"{sql} WHERE p.device_id IN ({marks})", *part):
                found.setdefault(server_id, []).append(address)
    return found
