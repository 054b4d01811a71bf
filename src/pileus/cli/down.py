"""`pileus down`: stop the control plane; with --destroy leave nothing of the cloud on this machine."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import click

from pileus.cli.main import state_of
from pileus.cli.serve import read_pid
from pileus.cli.settings import EMPTY_WITH, load
from pileus.config import Config
from pileus.model.errors import Forbidden, Invalid, NotFound, Unavailable
from pileus.store.open import open_database, without_password
from pileus.store.schema import erase


@click.command("down")
@click.option("--destroy", is_flag=True, help="Remove servers, disks, devices, namespaces and the state directory.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_context
def command(ctx: click.Context, destroy: bool, yes: bool) -> None:
    """Stop the control plane; servers go on."""
    state = state_of(ctx)
    if not state.exists():
        raise NotFound(f"There is no cloud in {state}.")
    check_ours(state)
    config = load(state)
    if destroy and not yes and not confirmed(config):
        raise click.Abort
    pid = stop(state)
    click.echo(f"✓ The control plane (pid {pid}) has stopped." if pid else "✓ The control plane did not run.")
    if config.hosts:
        from pileus.cli.local_cluster import LocalCluster

        cluster = LocalCluster(config)
        cluster.stop()
        click.echo(f"✓ The agents of {config.hosts} hosts, NATS and PostgreSQL have stopped.")
        if destroy:
            cluster.destroy()
    elif destroy:
        asyncio.run(destroy_all(config))
        if config.database is not None:
            asyncio.run(erase_records(config))
    if destroy:
        remove(state)
        click.echo(f"✓ Servers, devices, namespaces and {state} are gone.")


def check_ours(state: Path) -> None:
    """Never remove a directory that is not a cloud's."""
    if not state.is_dir():
        raise Invalid(f"{state} is not a directory; nothing was done. Choose the cloud's with --state DIR.")
    try:
        held = {one.name for one in state.iterdir()}
    except PermissionError as error:
        raise Forbidden(f"The cloud in {state} belongs to another user; use sudo.") from error
    if held - EMPTY_WITH and "config.json" not in held:
        raise Invalid(f"{state} is not a state directory of pileus (it has no config.json); nothing was done. Choose with --state DIR.")


def remove(state: Path) -> None:
    """Remove the directory; one that a file system is mounted on is emptied."""
    mounted = state.is_mount()
    for one in list(state.iterdir()):
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()
    if not mounted:
        state.rmdir()


def confirmed(config: Config) -> bool:
    """Say what goes; ask, where somebody can answer."""
    count = len({one.name for one in config.directory.glob("**/node/guests/*") if one.is_dir()})
    outside = config.database is not None and not config.hosts
    where = f"{config.directory}, and empties {without_password(str(config.database))}" if outside else str(config.directory)
    click.echo(f"This removes {count} server(s) with their disks, all images, networks, users and {where}.", err=True)
    if not os.isatty(0):
        return True
    return click.confirm("Go on?", err=True)


def stop(state: Path, timeout: float = 20.0) -> int | None:
    """Ask the control plane to stop and wait for it; kill it when it does not. Returns its pid, None when none ran."""
    pid = read_pid(state)
    if pid is None:
        return None
    try:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout
        while read_pid(state) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline += timeout
            time.sleep(0.02)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise Unavailable(f"The control plane (pid {pid}) belongs to another user; use sudo.") from error
    return pid


async def destroy_all(config: Config) -> None:
    """Remove every guest, routing domain and device of this cloud from this machine."""
    if config.simulate:
        return
    from pileus.node.hypervisor.qemu import QemuDriver
    from pileus.node.network.linux import LinuxNetwork

    state = config.directory / "node"
    network = LinuxNetwork(state, config.tag)
    driver = QemuDriver(state, config.tag, network.open_tap)
    for guest in await driver.start(lambda _: None):
        await driver.remove(guest.id)
    await driver.close()
    await network.destroy()
    await network.close()


async def erase_records(config: Config) -> None:
    """Drop the cloud's tables on its database server; the database itself stays, it may be another's."""
    db = open_database(config)
    try:
        await erase(db)
    except Unavailable as error:
        click.echo(f"! The records are left: {error} Drop that database by hand.", err=True)
    finally:
        await db.close()
