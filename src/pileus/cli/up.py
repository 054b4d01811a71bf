"""`pileus up`: a cloud on this machine, from packages to a first server that answers ssh."""

import ipaddress
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click

from pileus.cli import settings
from pileus.cli.client import Api
from pileus.cli.credentials import Credentials, base_url
from pileus.cli.demo import Demo
from pileus.cli.main import state_of
from pileus.cli.progress import step
from pileus.cli.serve import ControlPlane, read_pid, run_until_stopped
from pileus.config import Config
from pileus.model.errors import Invalid, PileusError, Unavailable


@click.command("up")
@click.option("--listen", metavar="HOST:PORT", default=None, help="Where the API listens (default 127.0.0.1:5000).")
@click.option("--detach", is_flag=True, help="Return when the cloud is ready.")
@click.option("--no-demo", is_flag=True, help="No first network and server.")
@click.option("--simulate", metavar="N", type=click.IntRange(1), default=None, help="N simulated hosts: no root, nothing real.")
@click.pass_context
def command(ctx: click.Context, listen: str | None, detach: bool, no_demo: bool, simulate: int | None) -> None:
    """Start a cloud on this machine. May be run again at any time: it says what it found."""
    state = state_of(ctx)
    config = settings.remember(state, listen=listen, simulate=simulate)
    if not config.simulate and os.geteuid() != 0:
        raise Invalid("A real cloud needs root (network namespaces, guests' user ids): use sudo, or --simulate N.")
    if config.public_cidr is None and not config.simulate:
        config = settings.remember(state, public_cidr=free_public_cidr())
    disk = build_image(config) if not config.simulate else None
    running = read_pid(config.directory)
    if running:
        click.secho(f"✓ The control plane runs already (pid {running}).", err=True)
        furnish(config, disk, demo=not no_demo)
    elif detach:
        start_detached(config)
        furnish(config, disk, demo=not no_demo)
    else:
        run_until_stopped(config, lambda control: _furnish_beside(control, disk, not no_demo))
        click.echo("The control plane has stopped; servers go on. Start it again with the same command.", err=True)


def build_image(config: Config) -> Path:
    """The guest image, from the cache or built."""
    from pileus.guest.build import build, default_cache

    with step("Guest image") as current:
        built = build(default_cache(), current.note)
        current.note(f"{built.version}, {built.disk.stat().st_size / 1e6:.0f} MB")
    return built.disk


def start_detached(config: Config) -> None:
    """The control plane as a process of its own session; returns when it answers."""
    folder = config.directory / "log"
    folder.mkdir(mode=0o750, exist_ok=True)
    with step("Control plane") as current, (folder / "start.log").open("wb") as output:
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(config.directory), "serve"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 60
        while not answers(config):
            if process.poll() is not None:
                reason = (folder / "start.log").read_text().strip().splitlines() or ["no reason given"]
                raise Unavailable(f"The control plane did not start: {reason[-1]}")
            if time.monotonic() > deadline:
                process.terminate()
                raise Unavailable(f"The control plane did not answer within 60 s; see {folder / 'pileus.log'}")
            time.sleep(0.02)
        current.note(f"{base_url(config)}, pid {process.pid}")


def answers(config: Config) -> bool:
    """Whether the API of this state directory gives a token."""
    if read_pid(config.directory) is None:
        return False
    try:
        Api(config).login()
    except (PileusError, OSError, ValueError):
        return False
    return True


def _furnish_beside(control: ControlPlane, disk: Path | None, demo: bool) -> None:
    """Furnish from a thread beside the control plane of this process; a failure is told, the cloud goes on."""
    click.echo(f"{click.style('✓', fg='green')} Control plane  {base_url(control.config)}, pid {os.getpid()}", err=True)

    def work() -> None:
        try:
            furnish(control.config, disk, demo)
            click.echo("Ctrl-C stops the control plane; servers go on.", err=True)
        except PileusError as error:
            click.secho(f"pileus: {error.message}", fg="red", err=True)

    threading.Thread(target=work, name="furnish", daemon=True).start()


def furnish(config: Config, disk: Path | None, demo: bool) -> None:
    """Credentials, flavors, image, networks, and (with `demo`) the first server; then say where all is."""
    clouds = Credentials(config.directory).write_clouds(config)
    work = Demo(config)
    with step("Flavors"):
        work.flavors()
    if disk is not None:
        with step("Image pileus-guest") as current:
            work.image(disk, current)
    with step("Network public") as current:
        cidr = config.public_cidr or "172.24.4.0/24"
        work.public_network(cidr)
        current.note(cidr)
    address = furnish_demo(config, work) if demo and disk is not None else None
    click.echo(summary(config, clouds, work, address))


def furnish_demo(config: Config, work: Demo) -> str:
    """The first server and what it stands on; returns its floating IP."""
    with step("Network private, router, security group, key"):
        network = work.private_network()
        work.security_group()
        work.keypair()
    with step("Server hello") as current:
        server = work.wait_active(work.server(network)["id"], current)
        current.note(server["status"])
    with step("Floating IP") as current:
        address = work.floating_ip(server["id"])
        current.note(address)
    if server["status"] == "ACTIVE":
        with step("ssh answers") as current:
            work.wait_ssh(address, current)
    return address


def summary(config: Config, clouds: Path, work: Demo, address: str | None) -> str:
    """What there is now and how to use it."""
    me = f"./pileus --state {shlex.quote(str(config.directory))}" if config.state != Config().state else "./pileus"
    lines = ["", f"  API          {base_url(config)}/identity", f"  clouds.yaml  {clouds}"]
    if address:
        lines.append(f"  Server       hello at {address}:")
        lines.append(f"               {shlex.join(work.ssh_command(address))}")
    lines += [f"  Try          {me} openstack server list", f"  Stop         {me} down   (servers go on; --destroy removes all)", ""]
    return "\n".join(lines)


def free_public_cidr() -> str:
    """The first of 172.24.4.0/24, 172.24.5.0/24 ... that no route of this machine uses."""
    output = subprocess.run(["ip", "-json", "route", "show", "table", "all"], capture_output=True, text=True, check=True).stdout
    routes: list[dict[str, Any]] = json.loads(output or "[]")
    used: list[ipaddress.IPv4Network] = []
    for route in routes:
        try:
            used.append(ipaddress.IPv4Network(route["dst"]))
        except ValueError:  # "default", IPv6
            continue
    for number in range(4, 255):
        candidate = ipaddress.IPv4Network(f"172.24.{number}.0/24")
        if not any(candidate.overlaps(one) for one in used if one.prefixlen > 8):
            return str(candidate)
    raise Invalid('No free range for the public network below 172.24.0.0/16; set "public_cidr" in config.json of the state directory.')
