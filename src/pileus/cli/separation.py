"""A real cloud on one machine as two processes: this one, which is root and drives the machine, and one that parses requests, which may
do nothing to it. Here is what root does: whether it can be so, whose which file is, starting the other process, ending with it. ADR 0016.
"""

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pileus import threads
from pileus.bus.pair import NodeBus
from pileus.cli import kernel
from pileus.cli.logs import pass_on
from pileus.cli.sandbox import WRITTEN, Confined, Enclosure
from pileus.config import Config
from pileus.ending import end
from pileus.model.base import Model
from pileus.model.errors import Unavailable

log = logging.getLogger("pileus.serve")

FIRST_USER = 2_100_000_000
"""Above guests' user ids (node/hypervisor/confinement.py); one for each tag that a cloud may have."""
Ready = Callable[[Any], None]
PID = "pid.api"
PATIENCE, GRACE = 30.0, 10.0
"""Seconds for the other process to enclose itself; to stop once it is asked to."""

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12, "NET_RAW": 13, "SYS_PTRACE": 19, "SYS_ADMIN": 21,
}  # fmt: skip
"""What the node part keeps, and its programs may have; why each: ADR 0016."""


DAC_READ_SEARCH = 2


class Order(Model, frozen=True, kw_only=True):
    """What the other process is told, by its standard input. Numbers are descriptors that it inherits."""

    enclosure: Enclosure
    status: int
    config: Config | None = None  # None: enclose yourself, say what came of it, and end
    bus: int = -1
    log: int = -1
    listeners: list[int] = []
    metrics: int | None = None


def user_of(config: Config) -> int:
    """The user id, and group id, of the process that parses requests."""
    return FIRST_USER + int(config.tag, 16)


def applies(config: Config) -> bool:
    """Whether a cloud that has all roles in one command is two processes: a real one, started by root, on its own SQLite."""
    alone = config.bus is None and config.database is None and not config.simulate
    return os.geteuid() == 0 and alone and config.privilege_separation


# -- whose is what -------------------------------------------------------------------------------------------------------------------


def hand_over(config: Config) -> None:
    """Give the other process what is its own, also where an older version, or a command of root, has made it. Twice: the same.

    The directories stay root's, so that none can be put in another's place; the state directory lets everybody's files be.
    """
    user = user_of(config)
    directory = config.directory
    for name, mode in {"": 0o1771, **dict.fromkeys(WRITTEN, 0o770), "images": 0o771, "log": 0o1770}.items():
        folder = directory / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, -1, user)
        folder.chmod(mode)
    (directory / "node").mkdir(mode=0o711, exist_ok=True)
    (directory / MOUNT).mkdir(mode=0o700, exist_ok=True)
    if config.snapshots.is_symlink():
        config.snapshots.unlink()
    config.snapshots.mkdir(mode=0o700, exist_ok=True)
    for path in (*directory.glob("pileus.db*"), *directory.glob("log/audit.log*"), *directory.glob("backups/*")):
        _give(path, user)
    for folder in (directory / "secrets", directory / "images"):
        for root, folders, files in os.walk(folder):
            for name in (*folders, *files):
                if root != str(directory / "images") or name.startswith("."):  # image content is read by all and written by nobody
                    _give(Path(root, name), user)


def _give(path: Path, user: int) -> None:
    """Never what has a second name elsewhere, nor what a link points to: the other process may have made those."""
    about = path.lstat()
    if about.st_uid != user and (stat.S_ISDIR(about.st_mode) or (stat.S_ISREG(about.st_mode) and about.st_nlink == 1)):
        os.chown(path, user, user, follow_symlinks=False)


@contextlib.contextmanager
def as_its_user(config: Config) -> Iterator[None]:
    """For a command of root: write what the other process owns with that process's rights, so that its links lead nowhere else.

    All may be read: the program may lie where only root finds it.
    """
    owner = _owner(config.directory / "pileus.db")
    if os.geteuid() != 0 or owner != user_of(config):
        yield
        return
    os.setegid(owner)
    os.seteuid(owner)
    kernel.set_capabilities((DAC_READ_SEARCH,), later=True)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _owner(path: Path) -> int:
    try:
        return path.lstat().st_uid
    except OSError:
        return 0


# -- the other process ---------------------------------------------------------------------------------------------------------------

MOUNT = "sandbox"


class Child:
    """The process that parses requests, enclosed, with our end of the bus; or `confined.error`, and none."""

    def __init__(self, config: Config, sockets: list[socket.socket], metrics: socket.socket | None) -> None:
        ours, theirs = socket.socketpair()
        said, status = os.pipe()
        lines, log_pipe = os.pipe()
        order = Order(
            enclosure=_enclosure(config), status=status, config=_within(config), bus=theirs.fileno(), log=log_pipe,
            listeners=[one.fileno() for one in sockets], metrics=metrics.fileno() if metrics else None,
        )  # fmt: skip
        self.bus = ours
        self._said = os.fdopen(said, "rb")
        passed = [theirs.fileno(), status, log_pipe, *order.listeners, *([] if order.metrics is None else [order.metrics])]
        try:
            self.process = _start(order, passed)
        finally:
            theirs.close()
            os.close(status)
            os.close(log_pipe)
        self._lines = lines
        self.confined = _heard(self._said, self.process)

    @property
    def pid(self) -> int:
        """Its process id, as this machine knows it."""
        return self.process.pid

    def keep_log(self) -> None:
        """Write what it says into our log, by a thread, which has the privileges that we have by now."""
        threading.Thread(target=pass_on, args=(self._lines,), name="log-of-api", daemon=True).start()

    def stop(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> str:
        """Wait for its end, kill it when that takes long; why it ended, when it said so."""
        try:
            self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self._said.readline().decode(errors="replace").strip()


def end_left_over(config: Config) -> None:
    """End the other process of a cloud whose own was killed, where it has not ended by itself yet: its sockets are ours to take."""
    pid = pid_of_other(config.directory)
    if pid is None or os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if _user_in_status(pid) == user_of(config):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], GRACE)
        finally:
            os.close(handle)
    (config.directory / PID).unlink(missing_ok=True)


def _user_in_status(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), -1)


def attempt(config: Config) -> Confined:
    """Enclose a process that does nothing else, for `doctor`."""
    hand = Path(config.state, MOUNT)
    hand.mkdir(mode=0o700, exist_ok=True)
    said, status = os.pipe()
    try:
        process = _start(Order(enclosure=_enclosure(config), status=status), [status])
    finally:
        os.close(status)
    with os.fdopen(said, "rb") as file:
        found = _heard(file, process)
    process.wait(PATIENCE)
    return found


def _enclosure(config: Config) -> Enclosure:
    files = {"certificate": config.tls_certificate, "key": config.tls_key}
    private = {name: Path(file).read_bytes() for name, file in files.items() if file}
    return Enclosure(state=config.state, user=user_of(config), mount_on=str(config.directory / MOUNT), private=private)


def _within(config: Config) -> Config:
    """The settings, with paths as they are for the other process."""
    from pileus.cli.sandbox import PRIVATE_FILES

    certificate, key = (str(PRIVATE_FILES / name) for name in ("certificate", "key"))
    return msgspec.structs.replace(
        config, tls_certificate=certificate if config.tls_certificate else None, tls_key=key if config.tls_key else None
    )


def _start(order: Order, passed: list[int]) -> "subprocess.Popen[bytes]":
    """Start it, as the first of a namespace of processes where that can be: it sees no others, and leaves none behind."""
    import pileus

    path = os.pathsep.join([str(Path(pileus.__file__).parents[1]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ", "PILEUS_COMMAND") if name in os.environ}
    with _of_new_processes():
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pileus.cli.api_process"], stdin=subprocess.PIPE, pass_fds=passed, start_new_session=True,
            env={**kept, "PYTHONPATH": path},
        )  # fmt: skip
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(msgspec.json.encode(order))
    return process


@contextlib.contextmanager
def _of_new_processes() -> Iterator[None]:
    """Children of this thread begin a namespace of processes of their own, meanwhile."""
    here = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            kernel.libc.unshare(kernel.NEWPID)
        except OSError:  # the process itself says that a file system of its own is missing, too
            yield
            return
        try:
            yield
        finally:
            kernel.libc.setns(here, kernel.NEWPID)
    finally:
        os.close(here)


def _heard(said: Any, process: "subprocess.Popen[bytes]") -> Confined:
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    line = said.readline()
    timer.cancel()
    if not line:  # and not a word of what this machine lacks: something is wrong, and root does not take its place
        raise Unavailable(f"The process that parses requests did not start: it ended with {process.wait()}.")
    return msgspec.json.decode(line, type=Confined)


# -- this process --------------------------------------------------------------------------------------------------------------------


def start(config: Config, ready: Ready | None, listen: Callable[[str], socket.socket]) -> Coroutine[None, None, None] | None:
    """Start the other process, before this one has an event loop, threads or secrets; returns what is to be run here.

    None, with a line in the log, where this machine lets no process be another user: then all is done by one.
    """
    end_left_over(config)
    sockets = [listen(address) for address in (config.listen, config.host_listen) if address]
    metrics = listen(config.metrics_listen) if config.metrics_listen else None
    try:
        hand_over(config)
        child = Child(config, sockets, metrics)
    finally:
        for one in (*sockets, *([metrics] if metrics else [])):
            one.close()
    if child.confined.error:
        log.warning("requests are parsed by a process of root, as privileges can't be separated here: %s", child.confined.error)
        child.bus.close()
        child.ended()
        return None
    for what, why in child.confined.missing.items():
        log.warning("the process that parses requests runs as user %d without privileges, but without %s: %s", user_of(config), what, why)
    (config.directory / PID).write_text(f"{child.pid}\n")
    log.info("requests are parsed by process %d, user %d", child.pid, user_of(config))
    kernel.bound_capabilities(CAPABILITIES.values())
    kernel.set_capabilities(CAPABILITIES.values())
    child.keep_log()
    return _supervise(config, child, ready)


async def _supervise(config: Config, child: Child, ready: Ready | None) -> None:
    """Be the host's agent until a signal comes or the other process has ended. Neither goes on without the other."""
    stopped = asyncio.Event()
    threads.begin_own()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    bus = NodeBus(child.bus, lambda: _ready(config, ready))
    agents: list[Any] = []
    await bus.open()
    starting = asyncio.create_task(_start_agents(config, bus, agents))
    over, told = asyncio.create_task(bus.over.wait()), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait([over, told], return_when=asyncio.FIRST_COMPLETED)
        asked = stopped.is_set()
        if asked:
            child.stop()
            await asyncio.wait([over], timeout=GRACE)
        reason = await asyncio.to_thread(child.ended)
        if not asked:
            ended = f"The process that parses requests ended ({child.process.returncode})"
            raise Unavailable(reason or f"{ended}. Start the cloud again; servers go on.")
    finally:
        await end([over, told, starting])
        for agent in agents:
            await agent.close()
        await bus.close()
        child.process.kill()
        (config.directory / PID).unlink(missing_ok=True)


def _ready(config: Config, ready: Ready | None) -> None:
    from pileus.cli.credentials import Credentials

    Credentials(config.directory).write_clouds(config)
    if ready:
        ready(None)


async def _start_agents(config: Config, bus: NodeBus, agents: list[Any]) -> None:
    from pileus.cli.agents import make_agents
    from pileus.node.validation import Bounds, guarded

    bounds = Bounds(images=config.directory / "images", snapshots=config.snapshots, physical=config.physical_networks)
    try:
        agents += await asyncio.to_thread(make_agents, config)
        for agent in agents:
            bus.attach(agent.host, guarded(agent.handle, bounds))
        for agent in agents:
            await agent.start(bus.report)
    except Exception:
        if bus.over.is_set():
            return  # there is nobody to work for
        log.exception("the agent of this host could not start")
        raise


def pid_of_other(directory: Path) -> int | None:
    """The process that parses requests, while the cloud runs; None when there is no such."""
    with contextlib.suppress(OSError, ValueError):
        return int((directory / PID).read_text())
    return None
