"""Writes to PostgreSQL: all that wait go into one serializable transaction, each behind a savepoint; who lost a race is played again.

One writer a process, as SQLite has: its own writes never race each other and share one commit. Processes race, and the server says who
lost: then all of that transaction are played again, and after more losses each in a transaction of its own.
"""

import asyncio
import collections
import random
from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg

from pileus import clock
from pileus.model.errors import Conflict, Invalid, Unavailable
from pileus.store.database import Transaction, Work
from pileus.store.postgresql_connections import BROKEN, Address, Connections, LostConnection, state_of

T = TypeVar("T")

MOST = 64  # writes in one transaction
TOGETHER = 2  # tries beside others
PATIENCE = 15.0  # seconds of lost races before the caller is told
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.1

LOST_RACE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
# Two who looked before they wrote: one after the other the second would have seen the first's row, and said so in better words.
PERHAPS_LOST_RACE = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
MakeTransaction = Callable[[Any], Transaction]


class Write:
    """One write that waits, and what became of it in the transaction that is under way."""

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.deadline = clock.monotonic() + PATIENCE
        self.tries = 0
        self.result: Any = None
        self.error: Exception | None = None
        self.again = False

    def tell(self, error: Exception | None = None) -> None:
        """Give the caller, unless it has left, its result or error."""
        if self.future.done():
            return
        if error or self.error:
            self.future.set_exception(error or self.error)  # pyright: ignore[reportArgumentType]
        else:
            self.future.set_result(self.result)


class Writer:
    """The writes of one process. Its task lives while something waits."""

    def __init__(self, address: Address, connections: Connections, transaction: MakeTransaction) -> None:
        self.address = address
        self._connections = connections
        self._transaction = transaction
        self._waiting: collections.deque[Write] = collections.deque()
        self._task: asyncio.Task[None] | None = None

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction; returns when it is durable. Who waits may be cancelled, the write goes on."""
        one = Write(work)
        self._waiting.append(one)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_what_waits())
        return await one.future

    async def close(self) -> None:
        """Finish what waits."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write_what_waits(self) -> None:
        while self._waiting:
            most = MOST if self._waiting[0].tries < TOGETHER else 1
            batch = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            try:
                await self._settle(batch)
            except Exception as error:  # one of our own mistakes: everybody's caller is told
                for one in batch:
                    one.tell(error)

    async def _settle(self, batch: list[Write]) -> None:
        """Play the writes together until they are durable, refused, or to be played later."""
        for last in (False, True):
            try:
                async with self._connections.one(fresh=last) as connection:
                    await play(connection, self._transaction(connection), batch)
            except LostConnection as error:  # before the commit was sent: nothing was written
                if last:
                    raise self.address.lost(error) from error.__cause__
                continue
            except LOST_RACE as error:
                await self._later(batch, error)
                return
            except asyncpg.PostgresError as error:
                raise told(error) from error
            for one in batch:
                if not one.again:
                    one.tell()
            await self._later([one for one in batch if one.again])
            return

    async def _later(self, batch: list[Write], error: Exception | None = None) -> None:
        """Put them back, in front; those that have lost for too long are told."""
        kept: list[Write] = []
        for one in batch:
            one.tries += 1
            if error and clock.monotonic() > one.deadline:
                one.tell(Conflict("The change lost every race against others; repeat it.", stale=True))
            else:
                kept.append(one)
        self._waiting.extendleft(reversed(kept))
        if kept and error:
            await asyncio.sleep(random.uniform(0, min(FIRST_PAUSE * 2 ** kept[0].tries, LONGEST_PAUSE)))


async def play(connection: Any, transaction: Transaction, batch: list[Write]) -> None:
    """Run the writes in one transaction and commit it. Raises what undoes them all; what concerns one write is kept in it."""
    savepoints = len(batch) > 1
    await connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE" + ("; SAVEPOINT work" if savepoints else ""))
    try:
        for number, one in enumerate(batch):
            await _play_one(transaction, one, connection)
            failed = one.again or one.error is not None
            if savepoints and failed:
                await connection.execute("ROLLBACK TO work")
            elif savepoints and number < len(batch) - 1:
                await connection.execute("RELEASE work; SAVEPOINT work")
    except BaseException:
        await _roll_back(connection)
        raise
    if not savepoints and failed:
        await connection.execute("ROLLBACK")
        return
    await commit(connection)


async def _play_one(transaction: Transaction, one: Write, connection: Any) -> None:
    one.result, one.error, one.again = None, None, False
    try:
        one.result = await one.work(transaction)
    except LOST_RACE:
        raise
    except PERHAPS_LOST_RACE as error:
        one.again = one.tries == 0
        one.error = told(error)
    except Exception as error:
        ours = not isinstance(error, (asyncpg.InterfaceError, *BROKEN)) or (
            isinstance(error, OSError) and not isinstance(error, TimeoutError)
        )
        if connection.is_closed() or not ours:
            raise
        one.error = told(error) if isinstance(error, asyncpg.PostgresError) else error


async def commit(connection: Any) -> None:
    """Commit; Unavailable when nobody can say whether that happened."""
    try:
        await connection.execute("COMMIT")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, *BROKEN) as error:
        if isinstance(error, asyncpg.PostgresError) and state_of(error)[:2] in ("40", "23"):
            raise  # the server has undone it
        connection.terminate()
        raise Unavailable("The database was lost while it wrote: look whether the change is there, and repeat it if not.") from error


async def _roll_back(connection: Any) -> None:
    try:
        await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, *BROKEN):
        connection.terminate()  # the server undoes it then


def told(error: asyncpg.PostgresError) -> Exception:
    """The server's refusal as ours: what a value, a row or the server's state is to blame for. What our own statement is stays as it is."""
    message = str(
        getattr(error, "message", None) or "it does not fit its column"
    )  # what the client itself refuses it quotes: it may be a secret
    kind = state_of(error)[:2]
    if kind == "23":
        return Conflict(f"The database refused the change: {message}")
    if kind == "22":
        return Invalid(f"The database can't hold a value: {message}")
    if kind in ("53", "55", "57", "58", "25"):
        return Unavailable(f"The database could not be used: {message}")
    return error
