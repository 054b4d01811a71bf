"""`pileus doctor`: what this machine can do, found by trying, and the command that mends what it can't."""

import asyncio
import json
import os
import tempfile
from pathlib import Path

import click
import msgspec

from pileus.cli.main import state_of
from pileus.cli.settings import load
from pileus.config import Config
from pileus.model.errors import PileusError
from pileus.model.hosts import Capability


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Try each capability. Exit 1 when one that servers need is missing."""
    found = asyncio.run(examine(state_of(ctx)))
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        for one in found:
            click.echo(line(one))
    if any(one.required and not one.works for one in found):
        ctx.exit(1)


async def examine(state: Path) -> list[Capability]:
    """Hypervisor, tools, storage and network, and the rest of the cloud, each by a probe with a time-out."""
    from pileus.cli.doctor_cloud import examine_cloud
    from pileus.node.hypervisor.accelerators import examine_accelerators
    from pileus.node.machine import examine_tools
    from pileus.node.network.linux import LinuxNetwork

    with tempfile.TemporaryDirectory() as scratch:
        network = LinuxNetwork(Path(scratch), "dctr")
        accelerators = await examine_accelerators(state / "node" if state.exists() else Path(scratch))
        tools = await asyncio.to_thread(examine_tools, state)
        apart = await asyncio.to_thread(separated, load(state), scratch)
        return [*accelerators, *tools, *await network.probe(), apart, *await examine_cloud(state)]


def separated(cloud: Config, scratch: str) -> Capability:
    """Whether what parses requests can be a process without privileges, tried with one that does nothing else. Blocks."""
    from pileus.cli.separation.child import attempt
    from pileus.cli.separation.ownership import user_of
    from pileus.cli.separation.sandbox import WRITTEN

    name = "API without privileges"
    if os.geteuid() != 0:
        return Capability(name=name, works=False, detail="only root can become another user", remedy="run as root")
    config = Config(state=scratch, database=cloud.database)
    for folder in ("node", *WRITTEN):
        (config.directory / folder).mkdir(exist_ok=True)
    config.directory.chmod(0o711)
    try:
        found = attempt(config, user_of(cloud))
    except PileusError as error:
        return Capability(name=name, works=False, detail=error.message, remedy="see what it printed")
    if found.error:
        remedy = found.remedy or "run where a process of root may become another user"
        return Capability(name=name, works=False, detail=found.error, remedy=remedy)
    if found.missing:
        detail = "; ".join(f"without {what}: {why}" for what, why in found.missing.items())
        return Capability(name=name, works=False, detail=detail, remedy="run where root may make mount namespaces")
    return Capability(name=name, works=True, detail="a user of its own, no capabilities, own file system, filter of system calls")


def line(one: Capability) -> str:
    """One capability as a person reads it."""
    mark = click.style("✓", fg="green") if one.works else click.style("✗", fg="red" if one.required else "yellow")
    remedy = f"\n    → {one.remedy}" if one.remedy and not one.works else ""
    return f"{mark} {one.name:<28} {one.detail}{remedy}"
