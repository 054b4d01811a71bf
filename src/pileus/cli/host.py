"""`pileus host`: the hosts of a cloud: list them, let new ones join, empty one for maintenance, fence one, remove one."""

import json
import os
import signal
import time
from typing import Any

import click

from pileus.cli.client import Api, ApiError
from pileus.cli.main import state_of
from pileus.cli.settings import load
from pileus.config import Config
from pileus.model.errors import Conflict, NotFound, Unavailable
from pileus.model.hosts import DRAIN

LOOK_EVERY = 1.0
PATIENCE = 900.0
"""Seconds that one server's move is waited for."""


@click.group("host")
def command() -> None:
    """List, admit, drain, enable and remove hosts."""


def _api(ctx: click.Context) -> Api:
    return Api(load(state_of(ctx)), "admin", "admin")


def _host(api: Api, name: str) -> dict[str, Any]:
    hosts = api.get("/cluster/v1/hosts")["hosts"]
    found = next((one for one in hosts if one["name"] == name), None)
    if found is None:
        raise NotFound(f"There is no host {name}; there are: {', '.join(one['name'] for one in hosts) or 'none'}.")
    return dict(found)


def _service(api: Api, name: str) -> dict[str, Any]:
    found = api.get(f"/compute/v2.1/os-services?host={name}&binary=nova-compute")["services"]
    if not found:
        raise NotFound(f"There is no host {name}.")
    return dict(found[0])


def _change(api: Api, name: str, **body: Any) -> None:
    service = _service(api, name)
    headers = {"OpenStack-API-Version": "compute latest"}
    api.call("PUT", f"/compute/v2.1/os-services/{service['id']}", body, headers)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def list_hosts(ctx: click.Context, as_json: bool) -> None:
    """Every host: its cluster, life, and what is used."""
    api = _api(ctx)
    found = api.get("/cluster/v1/hosts")["hosts"]
    leaders = api.get("/cluster/v1/leaders")["leaders"]
    if as_json:
        click.echo(json.dumps({"hosts": found, "leaders": leaders}, indent=2))
        return
    click.echo(f"{'HOST':<20} {'CLUSTER':<10} {'STATE':<6} {'STATUS':<9} {'SERVERS':>7}  {'MEMORY MiB':>15}  {'DISK GiB':>11}  ADDRESS")
    for one in found:
        memory = f"{one.get('memory_used_mib', 0)}/{one.get('memory_mib', 0)}"
        disk = f"{one.get('disk_used_gib', 0)}/{one.get('disk_gib', 0)}"
        state = click.style(f"{one['state']:<6}", fg="green" if one["state"] == "up" else "red")
        line = f"{one['name']:<20} {one['cluster']:<10} {state} {one['status']:<9} {one['servers']:>7}  {memory:>15}  {disk:>11}"
        click.echo(f"{line}  {one.get('address', '')}{'  (' + one['fence_error'] + ')' if one.get('fence_error') else ''}")
    for one in leaders:
        held = f"for {one['seconds_left']} s more" if one["seconds_left"] > 0 else "no longer"
        click.echo(f"{one['name']}: led by {one['holder']} {held}, term {one['term']}")


@command.command("token")
@click.option("--cluster", default="default", show_default=True, help="The cluster that the host is to join.")
@click.option("--hours", default=1.0, show_default=True, help="How long the token is good for.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def token(ctx: click.Context, cluster: str, hours: float, as_json: bool) -> None:
    """A token with which one host joins; shown this once."""
    config = load(state_of(ctx))
    made = Api(config, "admin", "admin").post("/cluster/v1/tokens", {"cluster": cluster, "lifetime": hours * 3600})
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    address = config.host_listen or config.listen
    click.echo(f"On the new host: sudo PILEUS_JOIN_TOKEN={made['token']} ./pileus serve --role node --join - http://{address}")


@command.command("enable")
@click.argument("name")
@click.pass_context
def enable(ctx: click.Context, name: str) -> None:
    """Place servers on a host again; ends a drain."""
    api = _api(ctx)
    _change(api, name, status="enabled")
    if _service(api, name)["forced_down"]:
        _change(api, name, forced_down=False)
    click.echo(f"✓ {name} takes servers.")


@command.command("remove")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Forget a host that has no servers and does not run, and shut the message bus to it."""
    api = _api(ctx)
    host = _host(api, name)
    if host["servers"]:
        raise Conflict(f"{name} has {host['servers']} server(s). Empty it first: pileus host drain {name}")
    if host["state"] == "up":
        raise Conflict(f"{name} runs and would report again. Stop its agent first, then remove it within a while.")
    api.call("DELETE", f"/compute/v2.1/os-services/{_service(api, name)['id']}", headers={"OpenStack-API-Version": "compute latest"})
    config = load(state_of(ctx))
    if config.hosts:
        from pileus.cli.local_cluster import LocalCluster

        LocalCluster(config).forget(name)
        click.echo(f"✓ {name} is forgotten, and its key is void on the bus. The next `up` makes it anew.")
        return
    click.echo(f"✓ {name} is forgotten. To come back it needs a new token.")
    if config.bus:
        click.echo("  The bus lets it in until NATS has a new configuration: pileus bus config ... > FILE; nats-server --signal reload")


@command.command("drain")
@click.argument("name")
@click.option("--plan", is_flag=True, help="Show what would be done, do nothing.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_context
def drain(ctx: click.Context, name: str, plan: bool, yes: bool) -> None:
    """Move every server away, live where possible. Ctrl-C pauses; the same command goes on; `enable` ends it."""
    api = _api(ctx)
    _host(api, name)
    servers = _servers_of(api, name)
    for one in servers:
        click.echo(f"  {one['name']:<24} {one['status']:<10} {how(one)}")
    click.echo(f"{len(servers)} server(s) on {name}." if servers else f"{name} is empty.")
    if plan:
        return
    if servers and not yes and os.isatty(0):
        click.confirm("Go on?", abort=True)
    _change(api, name, status="disabled", disabled_reason=DRAIN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for one in _servers_of(api, name):  # also what came before the host was closed
            _move(api, one, name)
        left = _servers_of(api, name)
    except KeyboardInterrupt:
        click.echo(f"Paused. {name} takes no new servers. Go on: pileus host drain {name}. End: pileus host enable {name}", err=True)
        ctx.exit(130)
    if left:
        raise Unavailable(f"{len(left)} server(s) are still on {name}: {', '.join(one['name'] for one in left)}. See: pileus why SERVER")
    click.echo(f"✓ {name} is empty and takes no servers. After the maintenance: pileus host enable {name}")


def how(server: dict[str, Any]) -> str:
    """What a drain does with a server."""
    if server["status"] in ("ACTIVE", "PAUSED"):
        return "live migration"
    if server["status"] in ("SHUTOFF", "SUSPENDED"):
        return "moved with its disks while it is off" if server["status"] == "SHUTOFF" else "moved suspended, with disks and memory"
    return f"left alone while it is {server['status']}"


def _servers_of(api: Api, host: str) -> list[dict[str, Any]]:
    return list(api.get(f"/compute/v2.1/servers/detail?all_tenants=1&host={host}")["servers"])


def _move(api: Api, server: dict[str, Any], host: str) -> bool:
    """Whether the server is elsewhere in the end."""
    path = f"/compute/v2.1/servers/{server['id']}"
    try:
        if server["status"] in ("ACTIVE", "PAUSED"):
            api.post(f"{path}/action", {"os-migrateLive": {"host": None, "block_migration": "auto"}})
        elif server["status"] == "SHUTOFF":
            api.post(f"{path}/action", {"migrate": {"host": None}})
        elif server["status"] == "SUSPENDED":  # Nova moves it to a host that is named, nowhere else
            api.post(f"{path}/action", {"migrate": {"host": _roomiest(api, host)}})
        else:
            return False
        found = _settled(api, path, server, host)
    except ApiError as error:
        click.echo(f"✗ {server['name']}: {error.message}", err=True)
        return False
    where = found["OS-EXT-SRV-ATTR:host"]
    click.echo(f"{'✓' if where != host else '✗'} {server['name']:<24} {found['status']:<10} on {where}")
    return bool(where != host)


def _roomiest(api: Api, host: str) -> str:
    """Of the other hosts of the cluster that take servers, the one with most memory that is not in use."""
    hosts = api.get("/cluster/v1/hosts")["hosts"]
    mine = next(one["cluster"] for one in hosts if one["name"] == host)
    others = [one for one in hosts if one["name"] != host and one["cluster"] == mine and (one["state"], one["status"]) == ("up", "enabled")]
    if not others:
        raise ApiError("There is no other host in its cluster that takes servers.")
    return str(max(others, key=lambda one: one.get("memory_mib", 0) - one.get("memory_used_mib", 0))["name"])


def _settled(api: Api, path: str, server: dict[str, Any], host: str) -> dict[str, Any]:
    """The server once its move is over; a cold one is confirmed on the way."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = dict(api.get(path)["server"])
        if found["status"] == "VERIFY_RESIZE" and found["OS-EXT-STS:task_state"] is None:
            api.post(f"{path}/action", {"confirmResize": None})
        elif found["status"] in (server["status"], "ERROR") and found["OS-EXT-STS:task_state"] is None:
            return found
        if time.monotonic() > deadline:
            raise ApiError(f"its move takes longer than {PATIENCE:g} s; it goes on, see: pileus migration watch {server['name']}")
        time.sleep(LOOK_EVERY)


@command.command("fence")
@click.argument("name", envvar="PILEUS_HOST")
@click.pass_context
def fence(ctx: click.Context, name: str) -> None:
    """Kill every process of a host of `up --hosts`: its agent and its guests, as pulling its plug would. Exit 0: nothing of it runs."""
    config = load(state_of(ctx))
    _kill(config, name)
    click.echo(f"✓ Nothing of {name} runs.")


def _kill(config: Config, name: str) -> None:
    from pileus.cli.local_cluster import LocalCluster

    cluster = LocalCluster(config)
    if name not in cluster.hosts:
        raise NotFound(f"{name} is no host of this machine's cluster ({', '.join(cluster.hosts) or 'it has none'}).")
    deadline = time.monotonic() + 20
    while pids := cluster.pids(name):
        if time.monotonic() > deadline:
            raise Unavailable(f"Processes of {name} don't end: {pids}")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
