"""`pileus status`: what runs, as the API and the process table say."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from pileus import __version__
from pileus.cli.client import Api
from pileus.cli.credentials import base_url
from pileus.cli.main import me, state_of
from pileus.cli.separation.child import pid_of_other, user_of_process
from pileus.cli.separation.ownership import as_its_user
from pileus.cli.serve import read_pid
from pileus.cli.settings import load
from pileus.config import Config
from pileus.model.errors import Unavailable
from pileus.model.verification import Verification
from pileus.store import schema, verifications
from pileus.store.open import open_database


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show roles, hosts, servers, addresses, versions. Exit 3 when the control plane does not run."""
    config = load(state_of(ctx))
    found = status(config)
    click.echo(json.dumps(found, indent=2) if as_json else text(found))
    if not found["running"]:
        ctx.exit(3)


def status(config: Config) -> dict[str, Any]:
    """The cloud as a document."""
    pid = read_pid(config.directory) if config.directory.exists() else None
    found: dict[str, Any] = {"version": __version__, "state": str(config.directory), "running": pid is not None, "pid": pid}
    if pid is None:
        return found
    other = pid_of_other(config.directory)
    try:
        found |= _said_by_api(config)
    except Unavailable as error:
        if config.bus is None or config.hosts:
            raise
        found |= {"api": None, "note": error.message, "hosts": [], "servers": []}  # a Cluster Manager has none
    return found | {
        "clouds_yaml": str(config.directory / "clouds.yaml"),
        "roles": ["cloud", "cluster", "node"] if config.bus is None else ["cloud", "cluster"],
        "memory_mib": round(sum(proportional_memory(one) for one in (pid, other) if one), 1),
        "verification": _verifications(config),
        "processes": parsing(config, pid, other) | (_processes(config) if config.hosts else {}),
    }


def _said_by_api(config: Config) -> dict[str, Any]:
    api = Api(config, "admin", "admin")
    services = api.get("/compute/v2.1/os-services")["services"]
    hypervisors = api.get("/compute/v2.1/os-hypervisors/detail")["hypervisors"]
    servers = api.get("/compute/v2.1/servers/detail?all_tenants=1")["servers"]
    hosts = [_host(one, hypervisors) for one in services if one["binary"] == "nova-compute"]
    return {"api": base_url(config), "hosts": hosts, "servers": [_server(one) for one in servers]}


def parsing(config: Config, pid: int, other: int | None) -> dict[str, int | None]:
    """The processes of the control plane, and with which rights: one that parses requests as root is one too many."""
    if other:
        node = config.bus is None
        return {"node, as root" if node else "supervisor, as root": pid, f"{'API' if node else 'managers'}, without privileges": other}
    as_root = not config.simulate and user_of_process(pid) == 0
    return {"all, as root": pid} if as_root else {}


def _verifications(config: Config) -> list[Any]:
    with as_its_user(config):
        return [msgspec.to_builtins(one) for one in asyncio.run(_verification(config))]


async def _verification(config: Config) -> list[Verification]:
    """What the invariants came to when each cluster's leader looked last; nothing where the running program is too old to look."""
    db = open_database(config)
    try:
        known = await schema.applied(db)
        return await verifications.newest(db) if any(name.endswith("_verifications") for name in known) else []
    finally:
        await db.close()


def _processes(config: Config) -> dict[str, int | None]:
    """What `up --hosts` has started besides: name -> pid, None when it does not run."""
    from pileus.cli.local_cluster import LocalCluster

    cluster = LocalCluster(config)
    agents = {f"agent {host}": read_pid(cluster.directory(host)) for host in cluster.hosts}
    return {"PostgreSQL": cluster.postgresql.pid(), "NATS": cluster.nats.pid(), **agents}


def _host(service: dict[str, Any], hypervisors: list[dict[str, Any]]) -> dict[str, Any]:
    mine = next((one for one in hypervisors if one["hypervisor_hostname"] == service["host"]), {})
    return {
        "name": service["host"],
        "state": service["state"],
        "status": service["status"],
        "zone": service["zone"],
        "hypervisor": mine.get("hypervisor_type", ""),
    }


def _server(server: dict[str, Any]) -> dict[str, Any]:
    addresses = [one["addr"] for cards in server["addresses"].values() for one in cards]
    return {
        "id": server["id"],
        "name": server["name"],
        "status": server["status"],
        "host": server.get("OS-EXT-SRV-ATTR:host"),
        "addresses": addresses,
    }


def proportional_memory(pid: int) -> float:
    """PSS of a process, MiB: shared pages count in proportion."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def text(found: dict[str, Any]) -> str:
    """The document as a person reads it."""
    if not found["running"]:
        return f"pileus {found['version']}: the control plane in {found['state']} does not run; start it with: {me(found['state'])} up"
    where = found["api"] or f"{found['state']} (no API here)"
    lines = [f"pileus {found['version']}  {where}  pid {found['pid']}  {found['memory_mib']} MiB  at {time.strftime('%H:%M:%S')}"]
    for name, pid in found.get("processes", {}).items():
        lines.append(f"  process {name:<24} {_colour('up' if pid else 'down')} {f'pid {pid}' if pid else 'start it again with up'}")
    for host in found["hosts"]:
        lines.append(f"  host    {host['name']:<24} {_colour(host['state'])} {host['status']:<9} {host['hypervisor']}")
    for one in found["verification"]:
        lines.append(f"  verify  {one['cluster']:<24} {_verified(one, time.time())}")
    for server in found["servers"]:
        lines.append(f"  server  {server['name']:<24} {_colour(server['status'])} {', '.join(server['addresses'])}")
    return "\n".join(lines)


def _verified(found: dict[str, Any], now: float) -> str:
    """One cluster's result in a line."""
    minutes = max(0, round((now - found["at"]) / 60))
    when = f"{minutes} min ago"
    if found["breaches"]:
        names = ", ".join(dict.fromkeys(one["name"] for one in found["breaches"]))
        return f"{click.style('broken', fg='red')}    {when}: {names}; see: pileus verify"
    if found["note"]:
        return f"{click.style('unknown', fg='yellow')}   {when}: {found['note']}"
    return f"{click.style('whole', fg='green')}     {when}: {found['invariants']} invariants hold"


def _colour(word: str) -> str:
    colours = {"up": "green", "ACTIVE": "green", "down": "red", "ERROR": "red"}
    return click.style(f"{word:<9}", fg=colours.get(word, "yellow"))
