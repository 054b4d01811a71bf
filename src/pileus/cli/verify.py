"""`pileus verify`: records, Placement, hypervisor, disks, networks and images compared."""

import asyncio
import json
import time

import click

from pileus.cli.main import state_of
from pileus.cli.settings import check_store, load
from pileus.cli.world import gather
from pileus.config import Config
from pileus.core.verify import INVARIANTS, breaches
from pileus.store.open import open_database

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
        names = {one.name: one.sentence for one in INVARIANTS}
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
    """The breaches that stay."""
    db = open_database(config)
    try:
        lasting: list[tuple[str, str]] | None = None
        for look in range(LOOKS):
            found = breaches(await gather(db, config))
            lasting = found if lasting is None else [one for one in lasting if one in found]
            if not lasting:
                return []
            if look < LOOKS - 1:
                time.sleep(PAUSE)  # noqa: ASYNC251 nothing else runs in this loop
        return lasting or []
    finally:
        await db.close()
