"""`pileus up`: a cloud on this machine, from its guest image to a first server that answers ssh."""

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from pileus.cli import fault_plan, settings
from pileus.cli.credentials import Credentials, base_url
from pileus.cli.daemons import database_url
from pileus.cli.down import stop
from pileus.cli.local_cluster import LocalCluster
from pileus.cli.local_cluster import settings as cluster_settings
from pileus.cli.main import me, state_of
from pileus.cli.progress import paint, step
from pileus.cli.public_network import free_public_cidr, where_to_start
from pileus.cli.separation.child import end_left_over
from pileus.cli.serve import listen as bind
from pileus.cli.serve import read_pid, run_until_stopped
from pileus.config import Config
from pileus.model.errors import Conflict, Invalid, PileusError, Unavailable

if TYPE_CHECKING:
    from pileus.cli.demo import Demo

PATIENCE = 60.0


@click.command("up")
@click.option("--listen", metavar="HOST:PORT", default=None, help="Where the API listens (default 127.0.0.1:5000).")
@click.option("--detach", is_flag=True, help="Return when the cloud is ready.")
@click.option("--no-demo", is_flag=True, help="No first network and server.")
@click.option("--simulate", metavar="N", type=click.IntRange(1), default=None, help="N simulated hosts: no root, nothing real.")
@click.option("--faults", metavar="FILE", type=click.Path(path_type=Path), default=None, help="With --simulate: a plan of what goes wrong.")
@click.option("--seed", metavar="S", type=click.IntRange(0), default=None, help="With --faults: what chance is drawn from (default 0).")
@click.option("--hosts", metavar="N", type=click.IntRange(1, 16), default=None, help="N hosts in network namespaces of this machine.")
@settings.database_option
@click.option("--beside", is_flag=True, hidden=True, help="Furnish the cloud whose control plane has just started in the terminal.")
@click.pass_context
def command(ctx: click.Context, detach: bool, no_demo: bool, beside: bool, **said: Any) -> None:
    """Start a cloud on this machine. May be run again at any time: it says what it found."""
    state = state_of(ctx)
    faults, seed = said.pop("faults"), said.pop("seed")
    with _one_at_a_time(settings.prepare_directory(state)):
        try:
            planned = fault_plan.wanted(settings.load(state), said["simulate"], faults, seed)
            config = _configure(state, **said)
            fault_plan.keep(config, planned)
        except PileusError:
            settings.forget_unused(state)
            raise
        if config.hosts and not beside:
            _cluster(config, detach, not no_demo)
            return
        running = read_pid(config.directory)
        if running and not _runs_already(config, running, beside):
            running = None
        if not running and detach:
            start_detached(config)
        if running or detach:
            _furnish_or_say_what_stays(config, not no_demo, beside)
            return
    _serve_here(config, demo=not no_demo)


def _cluster(config: Config, detach: bool, demo: bool) -> None:
    """Many hosts on this machine: networks and daemons, managers, agents; then what every cloud has."""
    cluster = LocalCluster(config)
    running = read_pid(config.directory)
    cluster.prepare()
    if not running or not _runs_already(config, running):
        start_detached(config)
    cluster.start_hosts()
    furnish(config, demo)
    if detach:
        return
    click.echo("  Ctrl-C stops the control plane and the agents; servers go on.\n", err=True)
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    stop(config.directory)
    cluster.stop()
    click.echo("The control plane has stopped; servers go on. Start it again with the same command.", err=True)


def _configure(state: Path, listen: str | None, simulate: int | None, database: str | None, hosts: int | None) -> Config:
    """The settings, with what was said now; checked before anything is kept."""
    before = settings.load(state)
    if hosts and (simulate or database):
        raise Invalid("--hosts N brings a database of its own and real hosts: say it without --simulate and --database.")
    settings.check_kind(before, simulate, database or (database_url(state) if hosts else None))
    if hosts and (before.simulate or (before.database and not before.hosts) or hosts < before.hosts):
        raise Conflict(f"The cloud in {state} is another one, or has {before.hosts} hosts. Choose another directory with --state DIR.")
    if not (simulate or before.simulate) and os.geteuid() != 0:
        raise Invalid("A real cloud needs root (network namespaces, guests' user ids): use sudo, or --simulate N.")
    config = settings.said(before, listen=listen, simulate=simulate, database=database)
    running = read_pid(state)
    if hosts:
        config = msgspec.structs.replace(config, hosts=hosts) if before.hosts else cluster_settings(config, hosts)
    if running and msgspec.structs.replace(config, hosts=before.hosts) != before:
        raise Conflict(
            f"The control plane (pid {running}) runs with other settings. Stop it first (servers go on): {me(config.state)} down"
        )
    if not running:
        end_left_over(config)
        bind(config.listen).close()
        if config.public_cidr is None:
            config = settings.said(config, public_cidr="172.24.4.0/24" if config.simulate else free_public_cidr(where_to_start(config)))
    settings.keep(config, before)
    return config


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Hold the directory against another `up`; wait while one is at work."""
    with os.fdopen(os.open(directory / "up.lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with step("Waiting for an up") as current:
                current.note(f"another one is at work in {directory}")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _serve_here(config: Config, demo: bool) -> None:
    """The control plane in this process; what furnishes the cloud is a process beside it, as any client is."""
    beside: list[subprocess.Popen[bytes]] = []

    def ready(_: Any) -> None:
        options = [] if demo else ["--no-demo"]
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(config.directory), "up", "--beside", *options]
        beside.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))

    def stopping() -> None:
        for process in beside:
            process.terminate()
            process.wait()

    run_until_stopped(config, ready, stopping)
    click.echo("The control plane has stopped; servers go on. Start it again with the same command.", err=True)


def _runs_already(config: Config, running: int, beside: bool = False) -> bool:
    """Return when the control plane that runs answers; False when that was its end."""
    with step("Control plane") as current:
        found = _wait_until_it_answers(config)
        current.note(f"{base_url(config)}, pid {running}{'' if beside else ', runs already'}" if found else f"pid {running} has ended")
    return found


def start_detached(config: Config) -> None:
    """The control plane as a process of its own session; returns when it answers."""
    with step("Control plane") as current, tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(config.directory), "serve"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            _wait_until_it_answers(config, process, output)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        current.note(f"{base_url(config)}, pid {process.pid}")


def _wait_until_it_answers(config: Config, process: subprocess.Popen[bytes] | None = None, output: IO[bytes] | None = None) -> bool:
    """Return when it gives tokens. Has it ended: Unavailable, with the last line that `process` printed; False where it is another's."""
    deadline = time.monotonic() + PATIENCE
    while silence := why_silent(config):
        if process and output and process.poll() is not None:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines() or ["it gave no reason"]
            raise Unavailable(f"The control plane did not start: {lines[-1].removeprefix('pileus: ')}")
        if process is None and read_pid(config.directory) is None:
            return False
        if time.monotonic() > deadline:
            raise Unavailable(f"The control plane did not answer within {PATIENCE:g} s ({silence}); see {config.directory / 'log'}")
        time.sleep(0.02)
    return True


def why_silent(config: Config) -> str:
    """Why the API of this state directory gives no token; empty when it does."""
    from pileus.cli.client import Api

    if read_pid(config.directory) is None:
        return "it does not run"
    try:
        Api(config).login()
    except (PileusError, OSError, ValueError) as error:
        return str(error)
    return ""


def _furnish_or_say_what_stays(config: Config, demo: bool, beside: bool) -> None:
    """Furnish; a signal ends that with a word about the control plane, which goes on."""

    def interrupted(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    try:
        furnish(config, demo, beside)
    except (KeyboardInterrupt, PileusError):
        running = read_pid(config.directory)
        if running and not beside:
            words = f"The control plane (pid {running}) goes on. Go on with the same command, or stop it: {me(config.state)} down"
            click.echo(words, err=True)
        raise


def furnish(config: Config, demo: bool, beside: bool = False) -> None:
    """Flavors, networks, image, and (with `demo`) the first server; then say where all is."""
    from pileus.cli.demo import Demo

    clouds = Credentials(config.directory).write_clouds(config)
    work = Demo(config)
    with step("Flavors") as current:
        current.note(work.flavors())
    with step("Network public") as current:
        cidr = config.public_cidr or "172.24.4.0/24"
        work.public_network(cidr)
        current.note(cidr)
    network = None
    if demo:
        with step("Network private") as current:
            network = work.private_network()
            work.security_group()
            work.keypair()
            current.note("10.0.0.0/24, a router, security group ssh, key demo")
    furnish_image(config, work)
    lines = furnish_server(config, work, network) if network else []
    click.echo(summary(config, clouds, lines))
    if beside:
        click.echo("  Ctrl-C stops the control plane; servers go on.\n", err=True)


def furnish_image(config: Config, work: "Demo") -> None:
    """The guest image: built where there is none yet, and uploaded. Simulated guests have a disk of nothing."""
    if config.simulate:
        with step("Image pileus-guest") as current:
            work.empty_image(current)
        return
    from pileus.guest.build import BuildError, build, default_cache

    try:
        with step("Guest image") as current:
            built = build(default_cache(), lambda text: current.note(text.removeprefix("guest image: ")))
            current.note(f"Linux {built.version.partition('+')[0]}, {built.disk.stat().st_size / 1e6:.0f} MB")
    except BuildError as error:
        raise Unavailable(f"The guest image could not be built: {error}. Check network and apt's sources; run this again.") from error
    with step("Image pileus-guest") as current:
        work.image(built.disk, current)


def furnish_server(config: Config, work: "Demo", network: dict[str, Any]) -> list[str]:
    """The first server and its floating IP; returns how it is reached."""
    with step("Server hello") as current:
        server = work.wait_active(work.server(network)["id"], current)
        status = str(server["status"])
        current.note(status)
    with step("Floating IP") as current:
        address = work.floating_ip(server["id"])
        current.note(address)
    if config.simulate:
        return [f"hello at {address}, simulated as its host is"]
    if status == "ACTIVE":
        with step("ssh") as current:
            status = work.wait_ssh(server["id"], address, current)
    if status == "ACTIVE":
        return [f"hello at {address}:", shlex.join(work.ssh_command(address))]
    return [f"hello at {address} is {status}; start it:", f"{me(config.state)} openstack server start hello"]


def summary(config: Config, clouds: Path, server: list[str]) -> str:
    """What there is now and how to use it; `server` says how the first one is reached."""
    sudo = "sudo " if os.environ.get("SUDO_UID") and not config.simulate else ""
    started = os.environ.get("PILEUS_STARTED")
    took = f" in {time.time() - float(started):.0f} s" if started else ""
    lines = ["", paint(f"  Your cloud is up{took}.", 1), "", f"  API          {base_url(config)}/identity", f"  clouds.yaml  {clouds}"]
    lines += [f"  {'Server' if number == 0 else '':<12} {line}" for number, line in enumerate(server)]
    lines += [
        f"  Try          {me(config.state)} openstack server list",
        f"  Stop         {sudo}{me(config.state)} down   (servers go on; with --destroy nothing stays)",
        "",
    ]
    return "\n".join(lines)
