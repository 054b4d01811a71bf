"""`pileus migration`: what moves, how far it is, and what a move would take."""

import json
import time
from collections.abc import Callable
from typing import Any

import click

from pileus.cli.client import Api
from pileus.cli.main import state_of
from pileus.cli.settings import load
from pileus.model.errors import NotFound

OVER = ("completed", "confirmed", "reverted", "cancelled", "error", "failed", "done", "finished")
EVERY = 0.5
COLUMNS = ("round", "seconds", "sent", "left", "changes", "can be sent", "throttled", "pause")
WIDTHS = (6, 8, 12, 12, 14, 14, 10, 10)


@click.group("migration")
def command() -> None:
    """Moves of servers between hosts: list, watch, forecast."""


@command.command("list")
@click.option("--server", help="Of one server (its name or id).")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def list_command(ctx: click.Context, server: str | None, as_json: bool) -> None:
    """Migrations, newest first."""
    api = _api(ctx)
    query = f"?instance_uuid={_server(api, server)['id']}" if server else ""
    found = api.get(f"/compute/v2.1/os-migrations{query}")["migrations"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        way = f"{one['source_compute']} -> {one['dest_compute'] or '?'}"
        click.echo(
            f"{one['id']:>5}  {one['instance_uuid']}  {one['migration_type']:<15} {one['status']:<15} {way:<40} {one['created_at'][:19]}"
        )


@command.command("watch")
@click.argument("server")
@click.option("--json", "as_json", is_flag=True, help="For programs: one document a line, each time that something has changed.")
@click.pass_context
def watch_command(ctx: click.Context, server: str, as_json: bool) -> None:
    """Follow SERVER's newest migration to its end: round by round what was sent, what is left, and the pause that is expected.

    Exit 1 when the migration ends otherwise than by the server being at its destination.
    """
    api = _api(ctx)
    last = follow(api, _server(api, server)["id"], _print_json if as_json else Table().show)
    if last["status"] in ("error", "failed", "cancelled"):
        ctx.exit(1)


@command.command("forecast")
@click.argument("server")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def forecast_command(ctx: click.Context, server: str, as_json: bool) -> None:
    """What a live migration of SERVER would take now: its host measures for a second how fast it changes its memory."""
    api = _api(ctx)
    found = api.get(f"/compute/v2.1/servers/{_server(api, server)['id']}/pileus-forecast")["forecast"]
    click.echo(json.dumps(found, indent=2) if as_json else forecast_text(found))


def follow(api: Api, server_id: str, show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Show a server's newest migration whenever it has changed, until it is over; returns what it was at last."""
    known = api.get(f"/compute/v2.1/os-migrations?instance_uuid={server_id}&limit=1")["migrations"]
    if not known:
        raise NotFound(
            "The server has never moved. Move it: openstack --os-compute-api-version 2.30 server migrate --live-migration SERVER"
        )
    path = f"/compute/v2.1/servers/{server_id}/migrations/{known[0]['id']}/progress"
    before: dict[str, Any] | None = None
    while True:
        found = api.get(path)["progress"]
        if found != before:
            show(found)
            before = found
        if found["status"] in OVER:
            return found
        time.sleep(EVERY)


class Table:
    """Prints each round once, below a head that says what moves where."""

    def __init__(self) -> None:
        self.rounds = 0
        self.headed = False
        self.status = ""

    def show(self, found: dict[str, Any]) -> None:
        """What is new."""
        if not self.headed and found["dest_compute"]:
            self.headed = True
            click.echo(f"{found['migration_type']} {found['id']}: {found['source_compute']} -> {found['dest_compute']}")
        if found["status"] != self.status:
            if found["status"] == "running" and found["forecast"]:
                click.echo(forecast_text(found["forecast"]))
            self.status = found["status"]
            click.secho(f"{self.status} {found['error']}".rstrip(), fg="red" if found["error"] else None, bold=True)
        progress = found["progress"] or {}
        rounds = progress.get("rounds") or []
        if self.rounds == 0 and rounds:
            click.echo("".join(f"{name:>{width}}" for name, width in zip(COLUMNS, WIDTHS, strict=True)))
        for one in rounds[self.rounds :]:
            click.echo(round_text(one))
        self.rounds = max(self.rounds, len(rounds))
        if found["status"] in OVER and progress.get("pause_ms") is not None:
            click.echo(f"took {progress['seconds']:.1f} s, the guest stood still for {progress['pause_ms']} ms")


def round_text(one: dict[str, Any]) -> str:
    """A round as a line of the table."""
    cells = (
        str(one["number"]), f"{one['seconds']:.1f} s", size(one["sent"]), size(one["remaining"]), f"{size(one['dirty_rate'])}/s",
        f"{size(one['bandwidth'])}/s", f"{one['throttle']} %", f"{one['predicted_pause_ms']} ms",
    )  # fmt: skip
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


def forecast_text(found: dict[str, Any]) -> str:
    """A forecast in a sentence or two."""
    figures = f"{size(found['memory'])} in use, {size(found['dirty_rate'])}/s change, {size(found['bandwidth'])}/s can be sent"
    if not found["converges"]:
        return f"forecast: rounds alone will not do. {found['reason']} ({figures})"
    rounds = "1 round" if found["rounds"] == 1 else f"{found['rounds']} rounds"
    return f"forecast: {rounds} in {found['seconds']:.1f} s, a pause of {found['pause_ms']} ms ({figures})"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} GiB"


def _print_json(found: dict[str, Any]) -> None:
    click.echo(json.dumps(found))


def _api(ctx: click.Context) -> Api:
    return Api(load(state_of(ctx)), "admin", "admin")


def _server(api: Api, server: str) -> dict[str, Any]:
    found = api.get("/compute/v2.1/servers?all_tenants=1")["servers"]
    matching = [one for one in found if server in (one["id"], one["name"])]
    if not matching:
        raise NotFound(f"There is no server {server}.")
    if len(matching) > 1:
        raise NotFound(f"{len(matching)} servers are called {server}; say which by its id: {', '.join(one['id'] for one in matching)}.")
    return matching[0]
