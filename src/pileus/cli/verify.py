"""`pileus verify`: records, Placement, hypervisor, disks, networks and images compared."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec

from pileus.cli.main import state_of
from pileus.cli.settings import check_store, load
from pileus.cli.world import gather, running_on, with_host
from pileus.config import Config
from pileus.core.verify import INVARIANTS, breaches
from pileus.model.census import Census
from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.messages import CensusReply, TakeCensus
from pileus.store.database import Database
from pileus.store.hosts import every_host
from pileus.store.open import open_database

LookAt = Callable[[str], Awaitable[Census]]

LOOKS = 4  # a breach counts when it is still there at the last look: what is on its way needs a moment
PAUSE = 0.5


@click.command("verify")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Compare what is recorded with what is there. Exit 1, with a line of evidence for each breach, when they differ."""
    config = load(state_of(ctx))
    check_store(config)
    found = asyncio.run(verify(config))
    if as_json:
        names = {one.name: one.sentence for one in INVARIANTS} | {"hosts_can_be_looked_at": "Every host answers."}
        lines = [{"invariant": name, "sentence": names[name], "evidence": evidence} for name, evidence in found]
        click.echo(json.dumps({"invariants": len(INVARIANTS), "breaches": lines}, indent=2))
    else:
        for name, evidence in found:
            click.echo(f"{click.style('✗', fg='red')} {name}: {evidence}")
        if not found:
            click.echo(f"{click.style('✓', fg='green')} {len(INVARIANTS)} invariants hold.")
    if found:
        ctx.exit(1)


async def verify(config: Config) -> list[tuple[str, str]]:
    """The breaches that stay, on whatever host they are."""
    db = open_database(config)
    try:
        async with censuses(db, config) as look_at:
            lasting: list[tuple[str, str]] | None = None
            for look in range(LOOKS):
                found = await _once(db, config, look_at)
                lasting = found if lasting is None else [one for one in lasting if one in found]
                if not lasting:
                    return []
                if look < LOOKS - 1:
                    await asyncio.sleep(PAUSE)
            return lasting or []
    finally:
        await db.close()


async def _once(db: Database, config: Config, look_at: LookAt) -> list[tuple[str, str]]:
    """Each host's view of the world; what all say is said once."""
    if config.simulate:
        return breaches(await gather(db, config, ""))
    found: dict[tuple[str, str], None] = {}
    censuses: dict[str, Census] = {}
    for host in await every_host(db):
        try:
            censuses[host.name] = await look_at(host.name)
        except (Unavailable, NodeFailed) as error:
            found["hosts_can_be_looked_at", f"host {host.name}: {error.message}"] = None
    everywhere = running_on(censuses)
    for name, census in censuses.items():
        world = msgspec.structs.replace(await gather(db, config, name), running_on=everywhere)
        found.update(dict.fromkeys(breaches(await with_host(db, world, census))))
    return list(found)


@asynccontextmanager
async def censuses(db: Database, config: Config) -> AsyncIterator[LookAt]:
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
