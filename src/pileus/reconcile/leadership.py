"""One active manager a cluster: whoever holds the lease reconciles, the others stand by and take over when it runs out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pileus import clock
from pileus.ending import end
from pileus.model.errors import PileusError
from pileus.store import leases
from pileus.store.database import Database

log = logging.getLogger(__name__)
SECONDS = 3.0
"""How long a lease lasts without being kept: a cluster whose manager was killed has another after this and one look."""
EVERY = 0.75
MARGIN = 0.5
"""A holder that could not keep its lease stops so long before the others may take it."""


class Leadership:
    """Takes the lease of a name when it is free and keeps it; `begin` and `end` are called as it is won and lost."""

    def __init__(
        self, db: Database, name: str, holder: str, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
    ) -> None:
        self.db = db
        self.name = name
        self.holder = holder
        self.leading = False
        self.current: leases.Lease | None = None
        self._begin = begin
        self._end = end
        self._until = 0.0  # by our own clock, counted from before the question: never later than the database's
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to stand; returns after the first look."""
        await self._look()
        self._task = asyncio.create_task(self._stand())

    async def close(self) -> None:
        """Lead no more, and let another take over at once."""
        await end([self._task])
        if self.leading:
            await self._lose("it stops")
            try:
                await asyncio.wait_for(self.db.write(lambda tx: leases.give_back(tx, self.name, self.holder)), 2.0)
            except (PileusError, TimeoutError) as error:
                log.info("%s: the lease runs out by itself: %s", self.name, error)

    async def _stand(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self._look()
            except Exception:
                log.exception("%s: this look at the lease failed", self.name)

    async def _look(self) -> None:
        asked_at = clock.monotonic()
        patience = self._until - MARGIN - asked_at if self.leading else SECONDS
        try:
            asking = self.db.write(lambda tx: leases.take(tx, self.name, self.holder, SECONDS))
            self.current = await asyncio.wait_for(asking, max(patience, 0.0))
        except (PileusError, TimeoutError, OSError) as error:
            if self.leading and clock.monotonic() + EVERY > self._until - MARGIN:  # the next look would come too late
                await self._lose(f"the lease could not be kept: {str(error) or 'the database does not answer'}")
            return
        if self.current.holder != self.holder:
            if self.leading:
                await self._lose(f"{self.current.holder} holds it now")
            return
        self._until = asked_at + SECONDS
        if not self.leading:
            log.info("%s: this process leads now (term %d)", self.name, self.current.term)
            self.leading = True
            await self._begin()

    async def _lose(self, why: str) -> None:
        log.warning("%s: this process leads no more: %s", self.name, why)
        self.leading = False
        await self._end()
