"""`pileus verify`: records, Placement, hypervisor, disks, networks, images and identity compared; `--repair` mends what is safe to mend."""

import asyncio
import json
from typing import Any

import click

from pileus.cli.main import me, state_of
from pileus.cli.separation.ownership import as_its_user
from pileus.cli.settings import check_store, load
from pileus.cli.world import LookAt, censuses, gather_all
from pileus.config import Config
from pileus.core.verify import INVARIANTS, Breach, examine, lasting
from pileus.core.verify.repairs import RemoveContent, Repair
from pileus.store.database import Database
from pileus.store.open import open_database

LOOKS = 4  # a breach counts when it is still there at the last look: what is on its way needs a moment
PAUSE = 0.5


@click.command("verify")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--repair", is_flag=True, help="Mend what can be mended without losing anything: says first what it will do, and asks.")
@click.option("--yes", is_flag=True, help="With --repair: do not ask.")
@click.pass_context
def command(ctx: click.Context, as_json: bool, repair: bool, yes: bool) -> None:
    """Compare what is recorded with what is there. Exit 1, with a line of evidence for each breach, when they differ."""
    if (yes and not repair) or (repair and as_json and not yes):
        raise click.UsageError("--yes goes with --repair, and --repair --json needs it, as nobody can be asked.")
    config = load(state_of(ctx))
    check_store(config)
    away: set[str] = set()
    found = asyncio.run(verify(config, away))
    done = [] if not repair else _repair(config, found, ask=not yes, quiet=as_json)
    if done:
        found = asyncio.run(verify(config, away))
    if as_json:
        click.echo(
            json.dumps(
                document(found) | {"hosts_down": sorted(away)} | ({"repaired": [one.sentence() for one in done]} if repair else {}),
                indent=2,
            )
        )
    else:
        _say(found, me(str(config.directory)), hint=not repair)
        for host in sorted(away):
            click.echo(f"Host {host} is down: what is there was not looked at.")
    if found:
        ctx.exit(1)


def document(found: list[Breach]) -> dict[str, Any]:
    """The answer for programs."""
    lines = [
        {
            "name": one.name,
            "invariant": one.name,  # as this field was called first
            "sentence": one.sentence,
            "evidence": one.evidence,
            "repairable": one.repair is not None,
            "repair": one.repair.sentence() if one.repair else None,
        }
        for one in found
    ]
    return {"invariants": len(INVARIANTS), "breaches": lines}


def _say(found: list[Breach], program: str, hint: bool) -> None:
    for one in found:
        click.echo(f"{click.style('✗', fg='red')} {one.name}: {one.evidence}")
    if not found:
        click.echo(f"{click.style('✓', fg='green')} {len(INVARIANTS)} invariants hold.")
    mendable = sum(one.repair is not None for one in found)
    if hint and mendable:
        click.echo(f"{mendable} of {len(found)} can be mended without losing anything: {program} verify --repair")


def _repair(config: Config, found: list[Breach], ask: bool, quiet: bool) -> list[Repair]:
    """Say what will be done, do it if that is wanted; returns what was done."""
    wanted = list(dict.fromkeys(one.repair for one in found if one.repair is not None))
    if not quiet:
        for one in wanted:
            click.echo(f"  will {one.sentence()}")
        if not wanted:
            click.echo(
                "Nothing is to be repaired." if not found else "Nothing of this can be repaired safely; the evidence says what to do."
            )
    if not wanted or (ask and not click.confirm(f"Do these {len(wanted)} repairs?")):
        return []
    with as_its_user(config):  # what stands in the records says which files go
        asyncio.run(mend(config, wanted))
    return wanted


async def verify(config: Config, away: set[str] | None = None) -> list[Breach]:
    """The breaches that stay, on whatever host they are. The names of hosts that are down are put into `away`."""
    db = open_database(config)
    try:
        async with censuses(config) as look_at:
            return await look(db, config, look_at, away=away)
    finally:
        await db.close()


async def look(db: Database, config: Config, look_at: LookAt, pause: float = PAUSE, away: set[str] | None = None) -> list[Breach]:
    """The breaches that all looks find."""
    world = await gather_all(db, config, look_at)
    found = examine(world)
    for _ in range(LOOKS - 1):
        if found:
            await asyncio.sleep(pause)
            world = await gather_all(db, config, look_at)
            found = lasting(found, examine(world))
    if away is not None:
        away |= set(world.away)
    return found


async def mend(config: Config, wanted: list[Repair]) -> None:
    """Do all that the store can do in one transaction, then free files. The reconcilers see it at their next scan."""
    from pileus.api.image.files import release
    from pileus.store.repairs import carry_out

    db = open_database(config)
    try:
        rows = [one for one in wanted if not isinstance(one, RemoveContent)]
        await db.write(lambda tx: carry_out(tx, rows))
        for one in wanted:
            if isinstance(one, RemoveContent):
                await release(db, config.image_stores, one.content)
    finally:
        await db.close()
