"""Looks at all invariants now and then, in the background, by whoever leads: slowly, so that requests do not notice.

A look reads the world page by page and rests after each page for longer than that took; a breach counts when it is still there some time
later. The newest result is `Verifier.last`, and in the store for `pileus status`.
"""

import asyncio
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from pileus import clock
from pileus.bus.local import Bus
from pileus.config import Config
from pileus.core.verify import INVARIANTS, Breach, World, lasting
from pileus.model.errors import NodeFailed, PileusError, Unavailable
from pileus.model.messages import CensusReply, TakeCensus
from pileus.model.verification import NamedBreach, Verification
from pileus.store import verifications
from pileus.store.database import Database
from pileus.store.world import gather, view

EVERY = 600.0  # seconds from the end of one look to the next
AGAIN = 30.0  # seconds between the looks at what one has found
LOOKS = 3  # a breach counts when all of them find it
REST = 24.0  # so many times as long as a piece of work took is rested after it: 4 % of one CPU
LONGEST_REST = 5.0
MOST_SERVERS = 20_000  # a larger world is not held in this process's memory
MOST_BREACHES = 100  # that are kept with their evidence
CENSUS_TIMEOUT = 60.0
NEVER = 1 << 30  # collections of younger objects before one of all

log = logging.getLogger("pileus.verify")


class Verifier:
    """The looks of one process, for its cluster. `last` is None before the first."""

    def __init__(self, db: Database, bus: Bus, config: Config) -> None:
        self.db = db
        self.bus = bus
        self.images = config.image_stores
        self.cluster = config.cluster
        self.apart = config.bus is not None
        self.simulated = bool(config.simulate)
        self.last: Verification | None = None
        self._worked = 0.0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                self.last = await self.look()
            except PileusError as error:
                log.warning("the invariants could not be looked at: %s", error.message)
            except Exception:
                log.exception("the invariants could not be looked at")
            await asyncio.sleep(EVERY)

    async def look(self, again: float = AGAIN) -> Verification:
        """One result, which is kept: what lasts of what was found."""
        began = clock.monotonic()
        servers = int(await self.db.value("SELECT count(*) FROM servers WHERE removed_at IS NULL"))
        if servers > MOST_SERVERS:
            note = f"{servers} servers are more than are looked at in the background: run pileus verify"
            return await self._keep(Verification(cluster=self.cluster, at=clock.now(), note=note))
        found = await self._breaches()
        for _ in range(LOOKS - 1):
            if found:
                await asyncio.sleep(again)
                found = lasting(found, await self._breaches())
        for one in found[:MOST_BREACHES]:
            log.warning("%s %s", one.sentence, one.evidence)
        left_out = len(found) - MOST_BREACHES
        result = Verification(
            cluster=self.cluster,
            at=clock.now(),
            seconds=round(clock.monotonic() - began, 3),
            invariants=len(INVARIANTS),
            breaches=[
                NamedBreach(name=one.name, evidence=one.evidence, repairable=one.repair is not None) for one in found[:MOST_BREACHES]
            ],
            note=f"{left_out} more breaches: run pileus verify" if left_out > 0 else "",
        )
        return await self._keep(result)

    async def _keep(self, result: Verification) -> Verification:
        await self.db.write(lambda tx: verifications.keep(tx, result))
        return result

    async def _breaches(self) -> list[Breach]:
        with no_full_collections():
            return await self._found()

    async def _found(self) -> list[Breach]:
        self._worked = clock.worked()
        world = await gather(self.db, self.images, self._rest)
        if not self.simulated:
            world = await self._with_hosts(world)
        found: list[Breach] = []
        for one in INVARIANTS:
            found += one.breaches(world)
            await self._rest()
        return found

    async def _with_hosts(self, world: World) -> World:
        """What our own hosts have; one that does not answer is the business of who looks for lost hosts."""
        views = list(world.views)
        for host in world.hosts:
            if self.apart and host.cluster != self.cluster:
                continue
            try:
                reply = await self.bus.request(host.name, TakeCensus(), timeout=CENSUS_TIMEOUT)
            except (Unavailable, NodeFailed) as error:
                log.info("host %s was not looked at: %s", host.name, error.message)
                continue
            assert isinstance(reply, CensusReply)  # the bus gives what the request asks for
            views.append(await view(self.db, world, host.name, reply.census))
            await self._rest()
        return msgspec.structs.replace(world, views=views)

    async def _rest(self) -> None:
        """Rest in proportion to what was done since the last time. (The thread's time counts what others did meanwhile as well: then we
        rest longer.)"""
        now = clock.worked()
        pause = min((now - self._worked) * REST, LONGEST_REST)
        await asyncio.sleep(pause)
        self._worked = clock.worked()


@contextmanager
def no_full_collections() -> Iterator[None]:
    """While a world of ten thousands of objects is held, the garbage collector does not walk through all of it: nobody waits for that."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
