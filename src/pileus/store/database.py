"""The interface of a database: readers, transactions, and a write that is durable when it returns."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = Sequence[Any]


class Reader(Protocol):
    """Reads rows. Placeholders are `?`, in the order of the arguments."""

    async def one(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        ...

    async def all(self, sql: str, *args: Any) -> list[Row]:
        """Every row."""
        ...

    async def value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        ...


class Transaction(Reader, Protocol):
    """Reads and writes that happen together or not at all."""

    async def execute(self, sql: str, *args: Any) -> int:
        """Run a statement; returns the number of rows that it changed."""
        ...

    async def clock(self) -> float:
        """The database's own time, in seconds: the same for every process that shares it."""
        ...

    async def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row."""
        ...


Work = Callable[[Transaction], Awaitable[T]]


class Database(Reader, Protocol):
    """A store. Reads see what was committed."""

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction and return its result once that is durable; an exception in it undoes it.

        `work` must await nothing but its transaction, and may be run again after a lost race.
        """
        ...

    async def exclusive(self, work: Work[T]) -> T:
        """As `write`, while no other process that shares the store is in here: for migrations."""
        ...

    async def version(self) -> int | None:
        """As long as it is the same, nothing was committed; None where there is no such number."""
        ...

    async def close(self) -> None:
        """Finish what waits and close."""
        ...
