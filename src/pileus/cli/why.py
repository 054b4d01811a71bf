"""`pileus why SERVER`: where a server was placed, or why it could not be."""

import asyncio
import json
import time

import click
import msgspec

from pileus.cli.main import state_of
from pileus.cli.separation.ownership import as_its_user
from pileus.cli.settings import check_store, load
from pileus.config import Config
from pileus.model.base import Model
from pileus.model.errors import NotFound
from pileus.model.placement import Decision, KeptDecision
from pileus.model.servers import Server
from pileus.store import decisions
from pileus.store.database import Reader
from pileus.store.open import open_database
from pileus.store.servers import SERVERS

NAMED = 5


class Answer(Model, frozen=True, kw_only=True):
    """What is known of a server's placements, newest first, and of the servers that were asked for with it."""

    decisions: list[KeptDecision]
    together: str = ""


@click.command("why")
@click.argument("server")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def command(ctx: click.Context, server: str, as_json: bool) -> None:
    """Explain the placement of SERVER (its name or id): hosts, filter by filter, scores; for a failure the nearest fit."""
    config = load(state_of(ctx))
    check_store(config)
    with as_its_user(config):
        found = asyncio.run(look(config, server))
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found.decisions), indent=2))
        return
    for number, one in enumerate(found.decisions):
        if len(found.decisions) > 1:
            click.echo(
                click.style(f"{'' if number == 0 else 'before, '}{time.strftime('%F %T', time.localtime(one.created_at))}", dim=True)
            )
        click.echo(text(one.decision))
    if found.together:
        click.echo(found.together)


async def look(config: Config, server: str) -> Answer:
    """The decisions about the server."""
    db = open_database(config)
    try:
        row = await SERVERS.first(db, "(id = ? OR name = ?) ORDER BY removed_at IS NOT NULL, created_at DESC", server, server)
        if row is None:
            raise NotFound(f"There is no server {server}.")
        found = await decisions.of_server(db, row.id)
        together = await _together(db, row)
    finally:
        await db.close()
    if not found:
        raise NotFound(f"No placement of server {server} is on record yet.")
    return Answer(decisions=found, together=together)


async def _together(db: Reader, server: Server) -> str:
    """Whether the request that asked for the server was satisfied wholly or in part."""
    sql = "SELECT name, host, fault FROM servers WHERE project_id = ? AND created_at = ? AND reservation_id = ? ORDER BY launch_index"
    rows = await db.all(sql, server.project_id, server.created_at, server.reservation_id)
    if len(rows) < 2:
        return ""
    placed = [row[0] for row in rows if row[1]]
    refused = [row[0] for row in rows if not row[1] and row[2]]
    how = "wholly" if len(placed) == len(rows) else "in part" if placed else "not"
    parts = [f"Asked for with {len(rows) - 1} others: {how} satisfied, {len(placed)} of {len(rows)} have a host"]
    parts += (
        [f"{', '.join(refused[:NAMED])}{f' and {len(refused) - NAMED} more' if len(refused) > NAMED else ''} without one"]
        if refused
        else []
    )
    return "; ".join(parts) + "."


def text(decision: Decision) -> str:
    """A decision as a person reads it."""
    wanted = ", ".join(f"{amount} {name}" for name, amount in decision.resources.items())
    lines = [click.style(decision.message, fg="green" if decision.host else "red"), f"  wanted: {wanted}"]
    for removal in decision.removals:
        for reason in removal.reasons:
            more = f" and {reason.count - len(reason.hosts)} more" if reason.count > len(reason.hosts) else ""
            lines.append(f"  {removal.filter}: removed {', '.join(reason.hosts)}{more}: {reason.text}")
    if len(decision.clusters) > 1 or (decision.cluster or "default") != "default":
        lines.append(f"  cluster {decision.cluster}: {decision.cluster_reason}")
        lines += [f"    {one.cluster:<22} {one.fitting} hosts fit, {one.free:.0%} free" for one in decision.clusters]
    for score in decision.scores:
        weights = ", ".join(f"{name} {value:.2f}" for name, value in score.weights.items())
        lines.append(f"  {score.host:<24} {score.total:.3f}  ({weights})")
    lines += [f"  next nearest: {one}" for one in decision.nearby]
    return "\n".join(lines)
