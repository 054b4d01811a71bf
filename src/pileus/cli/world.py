"""The world as `verify` sees it from the command line: the records, and what each host says when it is asked to look at itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from pileus.config import Config
from pileus.core.verify import World
from pileus.model.census import Census
from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.messages import CensusReply, TakeCensus
from pileus.store import world as store
from pileus.store.database import Database

LookAt = Callable[[str], Awaitable[Census]]


async def gather(db: Database, config: Config) -> World:
    """The world as the records say."""
    return await store.gather(db, config.image_stores)


async def gather_all(db: Database, config: Config, look_at: LookAt) -> World:
    """The records, and the own view of every host that is not down. Simulated hosts have none."""
    world = await gather(db, config)
    if config.simulate:
        return world
    views, unseen = list(world.views), list(world.unseen)
    away: list[str] = []
    if config.bus is not None:  # else the only host is here
        silent = world.now - config.node_silence
        away = [host.name for host in world.hosts if host.forced_down or host.fenced_at or host.seen_at < silent]
    for host in sorted(world.hosts, key=lambda one: one.name):
        if host.name in away:
            continue
        try:
            views.append(await store.view(db, world, host.name, await look_at(host.name)))
        except (Unavailable, NodeFailed) as error:
            unseen.append(f"host {host.name}: {error.message}")
    return msgspec.structs.replace(world, views=views, unseen=unseen, away=sorted(away))


@asynccontextmanager
async def censuses(config: Config) -> AsyncIterator[LookAt]:
    """How a host is looked at: this machine directly, the hosts of a bus by asking their agents."""
    if config.bus is None:
        from pileus.node.census import take

        async def here(host: str) -> Census:
            return await asyncio.to_thread(take, config.directory / "node", config.tag)

        yield here
        return
    from pileus.bus.nats import NatsBus
    from pileus.cli.shared_secrets import authority_of

    trusted = Path(config.bus_ca).read_text() if config.bus_ca else None
    bus = NatsBus(authority_of(config.directory).manager(config.bus, "verify", trusted), "verify")
    await bus.open()
    await bus.manage(reports=False)

    async def there(host: str) -> Census:
        reply = await bus.request(host, TakeCensus(), timeout=60)
        assert isinstance(reply, CensusReply)  # the bus gives what the request asks for
        return reply.census

    try:
        yield there
    finally:
        await bus.close()
