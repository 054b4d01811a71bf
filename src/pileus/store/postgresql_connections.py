"""Connections to a PostgreSQL server: made when they are needed, kept for the next, dropped when they broke."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from pileus.model.errors import Unavailable
from pileus.store.open import without_password

CONNECT_TIMEOUT = 5
STATEMENT_TIMEOUT = 60.0
SPARE = 60.0  # seconds
OLDEST = 13  # the oldest PostgreSQL that is still looked after
GOES = ("57P01", "57P02", "57P03", "25006")  # the server stops, or has become one that may only be read
# The client reports one that was ended between two statements as an internal error.
BROKEN = (asyncpg.PostgresConnectionError, asyncpg.InternalClientError, OSError, TimeoutError)
SETTINGS = {
    "application_name": "pileus",
    "jit": "off",  # our statements are short
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",  # what a killed process held is free again
    "client_min_messages": "warning",
}
AWAY = "The cloud's database does not answer now. Try again in a moment."
"""What users are told; where the database is concerns its operator alone."""


class LostConnection(Exception):
    """The connection broke before anything was committed; `__cause__` says why."""


class Address:
    """Where a database is. The password in its URL is never shown."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __str__(self) -> str:
        return without_password(self.url)

    def __repr__(self) -> str:
        return f"Address({self})"

    def lost(self, error: BaseException) -> Unavailable:
        """What to tell when it can't be reached."""
        cause = error.__cause__ or error
        reason = str(cause).strip() or type(cause).__name__
        return Unavailable(f"The database {self} can't be used: {reason}.", public=AWAY)


class Connections:
    """At most `size` connections of one event loop; the one that was used last is used first.

    Those that a burst has left over are closed when they were of no use for `spare` seconds: each keeps what it has prepared, some
    5 KiB for a statement here and as much again in its process of the server.
    """

    def __init__(self, address: Address, size: int, spare: float = SPARE) -> None:
        self.address = address
        self._spare = spare
        self._free: list[Any] = []  # the one that was used last at the end
        self._given_at: list[float] = []  # when each of them was
        self._look: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(size)
        self._closed = False

    @contextlib.asynccontextmanager
    async def one(self, fresh: bool = False) -> AsyncIterator[Any]:
        """A connection; `fresh` for one that was never used, and those that wait are dropped as the server may have gone meanwhile."""
        async with self._places:
            if self._closed:
                raise Unavailable("The database is closed.")
            while fresh and (stale := self._take()) is not None:
                stale.terminate()
            connection = self._take() or await self.connect()
            try:
                yield connection
            except asyncpg.OutdatedSchemaCacheError:
                raise  # the line is well
            except (asyncpg.InterfaceError, *BROKEN) as error:
                if not connection.is_closed() and isinstance(error, asyncpg.InterfaceError):
                    raise  # a mistake of ours, not of the line
                connection.terminate()
                raise LostConnection from error
            except asyncpg.PostgresError as error:
                if connection.is_closed() or state_of(error) in GOES:
                    connection.terminate()
                    raise LostConnection from error
                raise
            finally:
                self._give(connection)

    async def close(self) -> None:
        """Close those that wait; nobody may use one now."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()
        while self._free:
            await _end(self._free.pop())
        await asyncio.gather(*self._closing)

    def _take(self) -> Any | None:
        while self._free:
            connection = self._free.pop()
            self._given_at.pop()
            if not connection.is_closed():
                return connection
        return None

    def _give(self, connection: Any) -> None:
        if connection.is_closed():
            return
        if self._closed or connection.is_in_transaction():  # its user was cut off
            connection.terminate()
            return
        loop = asyncio.get_running_loop()
        self._free.append(connection)
        self._given_at.append(loop.time())
        if self._look is None and len(self._free) > 1:
            self._look = loop.call_later(self._spare, self._drop_spare)

    def _drop_spare(self) -> None:
        """Close those that were not used for long, but one."""
        loop = asyncio.get_running_loop()
        while len(self._free) > 1 and loop.time() - self._given_at[0] >= self._spare:
            self._given_at.pop(0)
            task = loop.create_task(_end(self._free.pop(0)))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        more = len(self._free) > 1
        self._look = loop.call_later(self._given_at[0] + self._spare - loop.time(), self._drop_spare) if more else None

    async def connect(self) -> Any:
        """A new connection; Unavailable, without the password, when there is none to be had."""
        try:
            connection = await asyncpg.connect(
                self.address.url,
                timeout=CONNECT_TIMEOUT,
                command_timeout=STATEMENT_TIMEOUT,
                statement_cache_size=400,
                max_cached_statement_lifetime=0,
                server_settings=SETTINGS,
            )
            await self._check(connection)
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise self._refused(error) from None  # its traceback has the URL
        return connection

    async def _check(self, connection: Any) -> None:
        version, encoding = connection.get_server_version().major, connection.get_settings().server_encoding
        if version < OLDEST or encoding != "UTF8":
            await connection.close()
            wants = f"PostgreSQL {OLDEST} or newer" if version < OLDEST else "a database with the encoding UTF8"
            raise Unavailable(f"The database {self.address} has version {version}, encoding {encoding}; pileus needs {wants}.")
        # A sum of BIGINTs is a numeric: a whole number to us, as in SQLite.
        await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text")

    def _refused(self, error: BaseException) -> Unavailable:
        reason = str(error).strip() or type(error).__name__
        remedy = "check that the server runs and is reached at this address"
        if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):  # a wrong password is one
            remedy = "check user and password (PILEUS_DATABASE), and the server's pg_hba.conf"
        elif isinstance(error, asyncpg.InvalidCatalogNameError):
            remedy = "make it: createdb --encoding=UTF8 --template=template0 NAME"
        elif isinstance(error, asyncpg.TooManyConnectionsError):
            remedy = "raise the server's max_connections"
        elif isinstance(error, asyncpg.ClientConfigurationError | ValueError):
            reason, remedy = "the URL is not valid", "write postgresql://USER@HOST:PORT/NAME"
        return Unavailable(f"The database {self.address} can't be used: {reason.rstrip('.')}; {remedy}.", public=AWAY)


async def refusal(url: str) -> str:
    """Why the server does not take this process's user for who it may be; empty when it does, and when nobody can say now."""
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT)
    except asyncpg.InvalidPasswordError:
        return ""  # the same for every user
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        return str(error).rstrip(".")
    except (PermissionError, FileNotFoundError) as error:
        return f"its socket can't be used: {error.strerror}"
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return ""
    await _end(connection)
    return ""


async def _end(connection: Any) -> None:
    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close(timeout=2)


def state_of(error: asyncpg.PostgresError) -> str:
    """The server's code of an error (SQLSTATE)."""
    return str(getattr(error, "sqlstate", ""))


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
