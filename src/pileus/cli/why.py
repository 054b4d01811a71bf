"""`pileus why SERVER`: where a server was placed, or why it could not be."""

import asyncio
import json

import click
import msgspec

from pileus.cli.main import state_of
from pileus.cli.settings import check_store, load
from pileus.config import Config
from pileus.model.errors import NotFound
from pileus.model.placement import Decision, KeptDecision
from pileus.store import decisions
from pileus.store.open import open_database
from pileus.store.servers import SERVERS


@click.command("why")
@click.argument("server")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def command(ctx: click.Context, server: str, as_json: bool) -> None:
    """Explain the placement of SERVER (its name or id): hosts, filter by filter, scores; for a failure the nearest fit."""
    config = load(state_of(ctx))
    check_store(config)
    found = asyncio.run(look(config, server))
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    for one in found:
        click.echo(text(one.decision))


async def look(config: Config, server: str) -> list[KeptDecision]:
    """The decisions about the server, newest first."""
    db = open_database(config)
    try:
        row = await SERVERS.first(db, "(id = ? OR name = ?) ORDER BY removed_at IS NOT NULL, created_at DESC", server, server)
        if row is None:
            raise NotFound(f"There is no server {server}.")
        found = await decisions.of_server(db, row.id)
    finally:
        await db.close()
    if not found:
        raise NotFound(f"No placement of server {server} is on record yet.")
    return found


def text(decision: Decision) -> str:
    """A decision as a person reads it."""
    wanted = ", ".join(f"{amount} {name}" for name, amount in decision.resources.items())
    lines = [click.style(decision.message, fg="green" if decision.host else "red"), f"  wanted: {wanted}"]
    for removal in decision.removals:
        for reason in removal.reasons:
            more = f" and {reason.count - len(reason.hosts)} more" if reason.count > len(reason.hosts) else ""
            lines.append(f"  {removal.filter}: removed {', '.join(reason.hosts)}{more}: {reason.text}")
    for score in decision.scores:
        weights = ", ".join(f"{name} {value:.2f}" for name, value in score.weights.items())
        lines.append(f"  {score.host:<24} {score.total:.3f}  ({weights})")
    return "\n".join(lines)
