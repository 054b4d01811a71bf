"""Maps frozen structs to rows: a column for each field, plain values as they are, everything else as JSON text."""

from collections.abc import Callable, Container
from enum import StrEnum
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from pileus import clock
from pileus.model.base import Resource
from pileus.model.errors import Conflict
from pileus.store.database import Reader, Row, Transaction

R = TypeVar("R", bound=msgspec.Struct)
S = TypeVar("S", bound=Resource)
MOST_SHARED = 500
"""Values of a column that are kept for rows which have the same."""


def _plain(hint: Any) -> Any:
    """The plain type of an annotation (str, int, float, bool, a StrEnum), or None when it is stored as JSON. Optional counts as plain."""
    if get_origin(hint) in (Union, UnionType):
        inner = [part for part in get_args(hint) if part is not type(None)]
        return _plain(inner[0]) if len(inner) == 1 else None
    if hint in (str, int, float, bool) or (isinstance(hint, type) and issubclass(hint, StrEnum)):
        return hint
    return None


def _decoder(hint: Any) -> Callable[[Any], Any] | None:
    """What makes a field of a column that is not NULL; None where nothing is to be done."""
    plain = _plain(hint)
    if plain is bool or (isinstance(plain, type) and issubclass(plain, StrEnum)):
        return plain
    return msgspec.json.Decoder(hint).decode if plain is None else None


def _encoder(hint: Any) -> Callable[[Any], Any] | None:
    plain = _plain(hint)
    if plain is bool:
        return lambda value: None if value is None else int(value)
    if isinstance(plain, type) and issubclass(plain, StrEnum):
        return lambda value: None if value is None else str(value)
    if plain is not None:
        return None
    encode = msgspec.json.encode
    return lambda value: None if value is None else encode(value).decode()


def _sharing(decode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Equal texts make one value."""
    known: dict[Any, Any] = {}

    def decode_once(text: Any) -> Any:
        value = known.get(text)
        if value is None:
            if len(known) >= MOST_SHARED:
                known.clear()
            value = known[text] = decode(text)
        return value

    return decode_once


class Table(Generic[R]):
    """A table whose columns are a struct's fields, in the struct's order. `shared` are columns kept as JSON that are equal in many rows,
    all of which may be in memory: they get one value, which nobody changes."""

    def __init__(self, name: str, struct: type[R], key: str = "id", shared: Container[str] = ()) -> None:
        hints = get_type_hints(struct)
        self.name = name
        self.struct = struct
        self.key = key
        self.columns: tuple[str, ...] = struct.__struct_fields__
        self.nullable = frozenset(column for column in self.columns if type(None) in get_args(hints[column]))
        self._decoders = [
            (index, _sharing(found) if column in shared else found)
            for index, column in enumerate(self.columns)
            if (found := _decoder(hints[column]))
        ]
        self._encoders = {column: found for column in self.columns if (found := _encoder(hints[column]))}
        self.select = f"SELECT {', '.join(f'{name}.{column}' for column in self.columns)} FROM {name}"  # noqa: S608 names are ours
        self._insert = f"INSERT INTO {name} ({', '.join(self.columns)}) VALUES ({', '.join('?' * len(self.columns))})"  # noqa: S608

    def decode(self, row: Row) -> R:
        """A struct of a row that `select` gave."""
        values = list(row)
        for index, decoder in self._decoders:
            if (value := values[index]) is not None:
                values[index] = decoder(value)
        return self.struct(**dict(zip(self.columns, values, strict=True)))

    def encode(self, column: str, value: Any) -> Any:
        """A field's value as the database keeps it."""
        encoder = self._encoders.get(column)
        return encoder(value) if encoder else value

    async def get(self, db: Reader, key: str) -> R | None:
        """The row with this key, or None."""
        row = await db.one(f"{self.select} WHERE {self.key} = ?", key)
        return None if row is None else self.decode(row)

    async def first(self, db: Reader, where: str, *args: Any) -> R | None:
        """The first row for which the condition holds, or None."""
        row = await db.one(f"{self.select} WHERE {where}", *args)
        return None if row is None else self.decode(row)

    async def find(self, db: Reader, where: str = "1 = 1", *args: Any) -> list[R]:
        """Every row for which the condition (which may carry an ORDER BY) holds."""
        return [self.decode(row) for row in await db.all(f"{self.select} WHERE {where}", *args)]

    async def insert(self, tx: Transaction, value: R) -> R:
        """Add a row. A key that is there already is a Conflict."""
        await tx.execute(self._insert, *(self.encode(column, getattr(value, column)) for column in self.columns))
        return value

    async def insert_many(self, tx: Transaction, values: list[R]) -> None:
        """Add many rows."""
        await tx.many(self._insert, [tuple(self.encode(column, getattr(value, column)) for column in self.columns) for value in values])

    async def set(self, tx: Transaction, key: str, **changes: Any) -> int:
        """Write columns without a look at the generation: for columns that have one writer (observed state). Returns rows changed."""
        names = ", ".join(f"{column} = ?" for column in changes)
        sql = f"UPDATE {self.name} SET {names} WHERE {self.key} = ?"  # noqa: S608
        return await tx.execute(sql, *(self.encode(column, value) for column, value in changes.items()), key)

    async def delete(self, tx: Transaction, key: str) -> bool:
        """Remove the row with this key; False when there was none."""
        return await tx.execute(f"DELETE FROM {self.name} WHERE {self.key} = ?", key) > 0  # noqa: S608


class ResourceTable(Table[S]):
    """A table of resources: rows with a generation."""

    async def update(self, tx: Transaction, seen: S, **changes: Any) -> S:
        """Change a row that was seen at `seen.generation`; a Conflict when it has changed since."""
        changes = {"updated_at": clock.now(), **changes, "generation": seen.generation + 1}
        names = ", ".join(f"{column} = ?" for column in changes)
        sql = f"UPDATE {self.name} SET {names} WHERE id = ? AND generation = ?"  # noqa: S608
        values = (self.encode(column, value) for column, value in changes.items())
        if await tx.execute(sql, *values, seen.id, seen.generation) != 1:
            raise Conflict(f"{self.name} {seen.id} was changed by another request; read it again and repeat.", stale=True)
        return msgspec.structs.replace(seen, **changes)
