"""Servers: from a row to a running guest, and back to nothing. Each step looks first and does one idempotent thing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from pileus import clock
from pileus.bus.local import Bus
from pileus.config import Config
from pileus.core import request_ids
from pileus.core.servers import Next, fault_of, followed, next_step
from pileus.model.errors import Conflict, Invalid, NodeFailed, NotFound, PileusError, Unavailable
from pileus.model.guests import ObservedGuest
from pileus.model.images import ImageStatus
from pileus.model.messages import ApplyGuest, GuestReply, NodeReply, RemoveGuest, Snapshot, SnapshotDone
from pileus.model.servers import Server
from pileus.reconcile import server_resize
from pileus.reconcile.liveness import Liveness
from pileus.reconcile.observations import EVENTS, record_on
from pileus.reconcile.placing import Placing
from pileus.reconcile.readings import Readings
from pileus.reconcile.scope import EVERYTHING
from pileus.reconcile.server_inputs import guest_on
from pileus.reconcile.tells import Tells
from pileus.store import actions, allocations, images, migration_records, ports, servers
from pileus.store.database import Database, Transaction
from pileus.store.hosts import every_head
from pileus.store.known_ports import KnownPorts

log = logging.getLogger(__name__)
Ingest = Callable[[str, Path], Awaitable[None]]
"""(image id, file): take a finished file into the image store and make the image active."""
Wake = Callable[[str, str], None]
SNAPSHOT = "compute_snapshot_instance"
APPLY_TIMEOUT, SNAPSHOT_TIMEOUT = 300.0, 3600.0
LOOK_EVERY = 1.0  # seconds between looks whether a copy is still wanted
PURGE_EVERY = 3600.0
KNOWN_PORTS = 2_000
FEW = 4
"""Steps at a time up to which a server that was placed is applied in the same step."""


class Servers:
    """One server a step. `ingest` is the image service's."""

    name = "servers"
    scope = EVERYTHING

    def __init__(self, db: Database, bus: Bus, config: Config, wake: Wake, ingest: Ingest) -> None:
        self.db = db
        self.bus = bus
        self.config = config
        self.wake = wake
        self.ingest = ingest
        self.placing = Placing(db, config)
        self.liveness = Liveness(bus, config.node_silence)
        self.tells = Tells()
        self._known = KnownPorts(KNOWN_PORTS)
        self.readings = Readings()
        self._purged_at = 0.0
        self._under_way = 0  # steps that do something now
        self.actions: dict[Next, Callable[[Server], Coroutine[Any, Any, Server | None]]] = {
            Next.PLACE: self.placing.place,
            Next.APPLY: self._apply,
            Next.FOLLOW: self._follow,
            Next.RESIZE: self._resize,
            Next.SNAPSHOT: self._snapshot,
            Next.REMOVE: self._remove,
        }

    async def scan(self) -> list[str]:
        """Servers about which something is to be done. Now and then, those that are gone for long are forgotten."""
        now = clock.now()
        if now - self._purged_at > PURGE_EVERY:
            await self.db.write(lambda tx: servers.purge(tx, now))
            self._purged_at = now
        return await servers.unsettled(self.db)

    async def step(self, id: str) -> float | None:
        """Do the next thing for a server. What can't be done yet is tried again, and the server's history says why it waits."""
        server = await servers.SERVERS.get(self.db, id)
        if server is None or not await self.scope.owns(server.host):
            return None
        request_ids.CURRENT.set(server.request_id)
        wanted = next_step(server)
        if wanted == Next.NOTHING:
            if server.next_step != wanted:
                await self.db.write(lambda tx: servers.rederive(tx, id))
            return None
        self._under_way += 1
        try:
            return await self._act(server, wanted)
        finally:
            self._under_way -= 1

    async def _act(self, server: Server, wanted: Next) -> float | None:
        after: Server | None = None
        try:
            after = await self.actions[wanted](server)
        except Unavailable as error:
            await self._waits(server, wanted, error.message)
            raise
        except (Invalid, NotFound) as error:  # trying again would not help
            if wanted not in (Next.PLACE, Next.APPLY):
                raise
            await self._failed(server, error.message, "")
        if wanted == Next.PLACE and self.scope.cluster is not None:
            self.wake(self.name, server.id)  # whoever answers for its host, which may be another process
        if after is None:
            return 0.0
        following = next_step(after)
        if following == Next.NOTHING:
            return None
        if wanted == Next.PLACE and self._under_way < FEW and await self.scope.owns(after.host):
            return await self._act(after, following)  # of many, each has its host before the first is applied
        return 0.0

    async def _waits(self, server: Server, wanted: Next, reason: str) -> None:
        event = SNAPSHOT if wanted == Next.SNAPSHOT else EVENTS.get(server.task_state or "")
        if event is not None:
            await self.db.write(lambda tx: actions.wait(tx, server.id, server.request_id, event, f"{reason} It is tried again."))

    async def _apply(self, server: Server) -> Server | None:
        """Tell the host what is wanted, with the networks that it needs; record what it then sees."""
        assert server.host is not None  # next_step says so
        with self.tells.telling(server.host) as tell:
            guest, domains = await guest_on(self.db, self.config, server, server.host, self.readings.begin(), self._known)
            request = ApplyGuest(guest=guest, domains=domains, seen=server.observed)
            try:
                reply = await self.bus.request(server.host, request, timeout=APPLY_TIMEOUT)
            except NodeFailed as error:
                await self._failed(server, error.message, str(error.data.get("detail", "")))
                return None
        assert isinstance(reply, GuestReply)  # the bus gives what the request asks for
        settled = [one.id for one in domains if tell.alone and self.tells.took(server.host, one, reply.domains.get(one.id, ""))]
        return await self._observed(server, reply.guest, [one.id for one in domains if one.id not in settled])

    async def _observed(self, server: Server, seen: ObservedGuest, domains: list[str]) -> Server | None:
        if seen.error is not None:
            await self._failed(server, seen.error, seen.error_detail or "")
            return None

        async def work(tx: Transaction) -> Server | None:
            current = await servers.SERVERS.get(tx, server.id)
            if current is None or current.host != server.host:  # it is gone, or has moved meanwhile
                return None
            news = current.observed if current.observed != server.observed else None
            if news is not None and news.generation >= seen.generation:  # a report came meanwhile: of what happened after the apply
                return current
            return await record_on(tx, current, seen, clock.now())

        after = await self.db.write(work)
        if after is not None and seen.generation < server.generation:
            raise Conflict(f"The host has not reached generation {server.generation} of {server.id} yet.", stale=True)
        for domain in domains:
            self.wake("routing", f"{server.host}/{domain}")  # which may have changed since it was read above
        if server.resize is not None:
            self.wake("migrations", server.resize.migration)
        return after

    async def _failed(self, server: Server, reason: str, detail: str) -> None:
        """What the host can't do becomes the server's fault: it is in ERROR until its owner asks for something else.

        If that was asked for meanwhile, it is tried instead.
        """

        async def work(tx: Transaction) -> None:
            current = await servers.get(tx, server.id)
            if current.generation != server.generation or current.request_id != server.request_id:
                return
            fault = fault_of(current, reason, clock.now(), detail)
            await servers.save(tx, current, fault=fault)
            event = EVENTS.get(server.task_state or "", "compute_apply")
            await actions.finish(tx, server.id, server.request_id, event, result="Error", message=reason, host=server.host)

        await self.db.write(work)
        log.warning("server %s on host %s: %s", server.id, server.host, reason)

    async def _follow(self, server: Server) -> None:
        """The guest changed by itself: it powered off, or died. What is wanted follows, as in Nova."""
        assert server.observed is not None  # next_step says so
        power = followed(server.observed.power)

        async def work(tx: Transaction) -> None:
            current = await servers.get(tx, server.id)
            if current.generation != server.generation or current.observed != server.observed:
                return
            await servers.save(tx, current, power=power)
            await ports.set_ports_active(tx, server.id, False)

        await self.db.write(work)

    async def _resize(self, server: Server) -> None:
        """Claim what another flavor needs, let go of what it does not."""
        await server_resize.advance(self.db, server)
        assert server.resize is not None  # next_step says so
        self.wake("migrations", server.resize.migration)

    async def _snapshot(self, server: Server) -> None:
        """Copy the root disk on the host, take the file into the image store. An image that can't be filled is taken away, as by Nova."""
        assert server.host is not None and server.pending_snapshot is not None  # next_step says so
        image_id = server.pending_snapshot
        destination = self._snapshot_file(image_id)
        error: str | None = None
        try:
            reply = await self._copied(server.id, server.host, destination)
            assert isinstance(reply, SnapshotDone)  # the bus gives what the request asks for
            await self.ingest(image_id, Path(reply.path))
        except PileusError as failure:
            if isinstance(failure, Unavailable) or failure.data.get("stale"):
                raise
            error = failure.message
        destination.unlink(missing_ok=True)

        async def work(tx: Transaction) -> None:
            current = await servers.get(tx, server.id)
            if current.pending_snapshot == image_id:
                await servers.save(tx, current, pending_snapshot=None)
            if error:
                await _take_unfilled(tx, image_id)
            result = "Error" if error else "Success"
            await actions.finish(tx, server.id, server.request_id, SNAPSHOT, result=result, message=error, host=server.host)

        await self.db.write(work)

    async def _copied(self, server_id: str, host: str, destination: Path) -> NodeReply:
        """The host's answer to a snapshot, which takes as long as the disk is large; given up when the server is deleted meanwhile."""
        request = Snapshot(guest_id=server_id, destination=str(destination))
        copying = asyncio.ensure_future(self.bus.request(host, request, timeout=SNAPSHOT_TIMEOUT))
        try:
            while not (await asyncio.wait({copying}, timeout=LOOK_EVERY))[0]:
                current = await servers.SERVERS.get(self.db, server_id)
                if current is None or current.deleted_at is not None:
                    raise Conflict(f"Instance {server_id} was deleted while it was copied.", stale=True)
            return copying.result()
        finally:
            copying.cancel()

    async def _remove(self, server: Server) -> None:
        """Guest first, then what it held: a crash in between does the rest at the next step."""
        left = await self._remove_guest(server.id, server.host) if server.host is not None else None
        image_id = server.pending_snapshot
        if image_id:
            self._snapshot_file(image_id).unlink(missing_ok=True)

        async def work(tx: Transaction) -> list[str]:
            if image_id:
                await _take_unfilled(tx, image_id)
            networks = await ports.release_ports(tx, server.id)
            await allocations.release(tx, server.id)
            await migration_records.forget_server(tx, server)
            await actions.finish(tx, server.id, server.request_id, "compute_terminate_instance", message=left, host=server.host)
            await servers.record_removed(tx, server.id, clock.now())
            return networks

        for network in await self.db.write(work):
            self.wake("routing", network)
        if server.resize is not None:  # of which another host may keep a copy
            self.wake("migrations", server.resize.migration)

    async def _remove_guest(self, server_id: str, host: str) -> str | None:
        """Have the host leave nothing of it. A host that is down is not waited for, as by Nova: `Hosts` sees to it when it is back."""
        try:
            await self.bus.request(host, RemoveGuest(guest_id=server_id))
        except Unavailable:
            if host not in self.liveness.lost(await every_head(self.db), clock.now()):
                raise
            return f"Host {host} is down. What it has of the server goes when it is back."
        return None

    def _snapshot_file(self, image_id: str) -> Path:
        return self.config.snapshots / f"{image_id}.qcow2"


async def _take_unfilled(tx: Transaction, image_id: str) -> None:
    """Take an image away whose content will never come."""
    image = await images.IMAGES.get(tx, image_id)
    if image is not None and image.status != ImageStatus.ACTIVE:
        await images.remove(tx, image_id)
