"""Lists with filters, sort keys and marker paging, as one SQL statement."""

from typing import Any, TypeVar

import msgspec

from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.store.database import Reader
from pileus.store.tables import Table

R = TypeVar("R", bound=msgspec.Struct)

OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "LIKE"}


class Condition(Model, frozen=True, kw_only=True):
    """`column operator value`. Operators: eq ne gt gte lt lte like in notin; a None with eq or ne means IS (NOT) NULL."""

    column: str
    value: Any
    operator: str = "eq"

    def sql(self, table: Table[Any]) -> tuple[str, list[Any]]:
        """The condition's text and arguments; the column's name is checked against the table."""
        if self.column not in table.columns:
            raise Invalid(f"'{self.column}' is not a field that can be filtered by.", field=self.column)
        name = f"{table.name}.{self.column}"
        if self.operator in ("in", "notin"):
            values = [table.encode(self.column, value) for value in self.value]
            word = "IN" if self.operator == "in" else "NOT IN"
            if not values:
                return ("1 = 0" if word == "IN" else "1 = 1"), []
            return f"{name} {word} ({', '.join('?' * len(values))})", values
        if self.value is None:
            return f"{name} IS {'NOT ' if self.operator == 'ne' else ''}NULL", []
        return f"{name} {OPERATORS[self.operator]} ?", [table.encode(self.column, self.value)]


class Listing(Model, frozen=True, kw_only=True):
    """What a list is asked for. `sort` is [(column, "asc" | "desc")]; the key is always the last sort column, so that paging is stable.

    `where` is an extra condition in SQL, with its `args`: for joins that no Condition can say.
    """

    conditions: list[Condition] = []
    sort: list[tuple[str, str]] = []
    marker: str | None = None
    limit: int | None = None
    reverse: bool = False
    where: str = ""
    args: list[Any] = []


async def list_rows(db: Reader, table: Table[R], listing: Listing) -> list[R]:
    """The rows of one page. An unknown marker or sort column is Invalid, naming it."""
    clause, args = await page_clause(db, table, listing)
    return await table.find(db, clause, *args)


async def page_clause(db: Reader, table: Table[Any], listing: Listing) -> tuple[str, list[Any]]:
    """What comes after WHERE, order and limit included, with its arguments."""
    sort = _order(table, listing)
    clauses, args = _clauses(table, listing)
    if listing.marker is not None:
        clause, values = await _after_marker(db, table, sort, listing.marker)
        clauses.append(clause)
        args.extend(values)
    sql = " AND ".join(clauses) or "1 = 1"
    order = ", ".join(f"{table.name}.{column} {direction.upper()}{_nulls(table, column, direction)}" for column, direction in sort)
    tail = "" if listing.limit is None else f" LIMIT {int(listing.limit)}"
    return f"{sql} ORDER BY {order}{tail}", args


async def count_rows(db: Reader, table: Table[Any], listing: Listing) -> int:
    """How many rows the conditions meet, whatever the page."""
    clauses, args = _clauses(table, listing)
    return int(await db.value(f"SELECT count(*) FROM {table.name} WHERE {' AND '.join(clauses) or '1 = 1'}", *args))  # noqa: S608


def _order(table: Table[Any], listing: Listing) -> list[tuple[str, str]]:
    sort = [*listing.sort]
    for column, direction in sort:
        if column not in table.columns:
            raise Invalid(f"'{column}' is not a field that can be sorted by.", field="sort_key")
        if direction not in ("asc", "desc"):
            raise Invalid(f"'{direction}' is not a sort direction; use asc or desc.", field="sort_dir")
    if table.key not in [column for column, _ in sort]:
        sort.append((table.key, sort[-1][1] if sort else "asc"))
    if listing.reverse:
        sort = [(column, "desc" if direction == "asc" else "asc") for column, direction in sort]
    return sort


def _clauses(table: Table[Any], listing: Listing) -> tuple[list[str], list[Any]]:
    clauses: list[str] = []
    args: list[Any] = []
    for condition in listing.conditions:
        clause, values = condition.sql(table)
        clauses.append(clause)
        args.extend(values)
    if listing.where:
        clauses.append(f"({listing.where})")
        args.extend(listing.args)
    return clauses, args


def _nulls(table: Table[Any], column: str, direction: str) -> str:
    """NULL sorts first going up and last going down. Said only where there may be one: an index of PostgreSQL serves no other order."""
    if column not in table.nullable:
        return ""
    return " NULLS FIRST" if direction == "asc" else " NULLS LAST"


async def _after_marker(db: Reader, table: Table[Any], sort: list[tuple[str, str]], marker: str) -> tuple[str, list[Any]]:
    row = await table.get(db, marker)
    if row is None:
        raise Invalid(f"marker [{marker}] not found", field="marker")
    directions = {direction for _, direction in sort}
    if len(directions) == 1 and not any(column in table.nullable for column, _ in sort):  # in one comparison, which an index serves
        names = ", ".join(f"{table.name}.{column}" for column, _ in sort)
        operator = ">" if directions == {"asc"} else "<"
        return f"({names}) {operator} ({', '.join('?' * len(sort))})", [table.encode(column, getattr(row, column)) for column, _ in sort]
    alternatives: list[str] = []
    args: list[Any] = []
    equal: list[tuple[str, Any]] = []
    for column, direction in sort:
        value = table.encode(column, getattr(row, column))
        later = _later(f"{table.name}.{column}", direction, value)
        if later:
            clause = " AND ".join([_same(f"{table.name}.{name}", seen) for name, seen in equal] + [later])
            alternatives.append(f"({clause})")
            args.extend(seen for _, seen in equal if seen is not None)
            args.extend([] if value is None else [value])
        equal.append((column, value))
    return f"({' OR '.join(alternatives)})", args


def _same(name: str, value: Any) -> str:
    return f"{name} IS NULL" if value is None else f"{name} = ?"


def _later(name: str, direction: str, value: Any) -> str:
    """What sorts after the value. NULL sorts first going up."""
    if direction == "asc":
        return f"{name} IS NOT NULL" if value is None else f"{name} > ?"
    return "" if value is None else f"({name} < ? OR {name} IS NULL)"
