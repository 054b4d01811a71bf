"""The process that parses requests, as root's process sees it: what it is told, how it is started, why it ended."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pileus.cli.logs import pass_on
from pileus.cli.separation import kernel
from pileus.cli.separation.database_access import DatabaseAccess, access_to
from pileus.cli.separation.ownership import MOUNT, user_of
from pileus.cli.separation.sandbox import OF_DATABASE, PRIVATE_FILES, Confined, Enclosure
from pileus.config import Config
from pileus.model.base import Model
from pileus.model.errors import Unavailable

PROGRAM = "pileus.cli.separation.enclosed_process"
PID = "pid.api"
FILES = ("tls_certificate", "tls_key", "bus_ca")
"""Settings that name a file which root alone may be able to read."""
PATIENCE, GRACE = 30.0, 10.0
"""Seconds for the other process to enclose itself; to end once it is killed."""


class Order(Model, frozen=True, kw_only=True):
    """What the other process is told, by its standard input. Numbers are descriptors that it inherits."""

    enclosure: Enclosure
    status: int
    database: str | None = None  # to be tried: whether its server takes this user for who it may be
    config: Config | None = None  # None: enclose yourself, say what came of it, and end
    roles: tuple[str, ...] = ()
    holder: int = 0  # root's process, by which others know this one
    bus: int = -1
    log: int = -1
    listeners: list[int] = []
    metrics: int | None = None


class Child:
    """The process that parses requests, enclosed, with our end of the bus; or `confined.error`, and none."""

    def __init__(
        self, config: Config, roles: tuple[str, ...], access: DatabaseAccess, sockets: list[socket.socket], metrics: socket.socket | None
    ) -> None:
        ours, theirs = socket.socketpair()
        said, status = os.pipe()
        lines, log_pipe = os.pipe()
        order = Order(
            enclosure=_enclosure(config, access, user_of(config)), status=status, database=access.url,
            config=_within(config, access), roles=roles, holder=os.getpid(), bus=theirs.fileno(), log=log_pipe,
            listeners=[one.fileno() for one in sockets], metrics=metrics.fileno() if metrics else None,
        )  # fmt: skip
        self.bus = ours
        self._said = os.fdopen(said, "rb")
        passed = [theirs.fileno(), status, log_pipe, *order.listeners, *([] if order.metrics is None else [order.metrics])]
        try:
            self.process = _start(order, passed, access.variables)
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


def database_access(config: Config) -> DatabaseAccess:
    """What the other process is given to reach the database."""
    return access_to(config.database, os.environ, Path.home())


def end_left_over(config: Config) -> None:
    """End the other process of a cloud whose own was killed, where it has not ended by itself yet: its sockets are ours to take."""
    pid = pid_of_other(config.directory)
    if pid is None or os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if user_of_process(pid) == user_of(config):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], GRACE)
        finally:
            os.close(handle)
    (config.directory / PID).unlink(missing_ok=True)


def user_of_process(pid: int) -> int:
    """The user id of a process; -1 when there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return -1
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), -1)


def attempt(config: Config, user: int) -> Confined:
    """Enclose a process of this user that does nothing but to try the database, where there is one, for `doctor`."""
    hand = Path(config.state, MOUNT)
    hand.mkdir(mode=0o700, exist_ok=True)
    access = database_access(config)
    if access.hindrance:
        return Confined(error=access.hindrance, remedy=OF_DATABASE)
    said, status = os.pipe()
    try:
        process = _start(Order(enclosure=_enclosure(config, access, user), status=status, database=access.url), [status], access.variables)
    finally:
        os.close(status)
    with os.fdopen(said, "rb") as file:
        found = _heard(file, process)
    process.wait(PATIENCE)
    return found


def _enclosure(config: Config, access: DatabaseAccess, user: int) -> Enclosure:
    private = {name: Path(getattr(config, name)).read_bytes() for name in FILES if getattr(config, name)} | access.files
    return Enclosure(state=config.state, user=user, mount_on=str(config.directory / MOUNT), private=private, sockets=access.sockets,
                     stores=[str(one) for one in list(config.image_stores.values())[1:]])  # fmt: skip


def _within(config: Config, access: DatabaseAccess) -> Config:
    """The settings, with paths as they are for the other process."""
    files = {name: str(PRIVATE_FILES / name) for name in FILES if getattr(config, name)}
    return msgspec.structs.replace(config, database=access.url, **files)


def _start(order: Order, passed: list[int], variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start it, as the first of a namespace of processes where that can be: it sees no others, and leaves none behind."""
    import pileus

    path = os.pathsep.join([str(Path(pileus.__file__).parents[1]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ", "PILEUS_COMMAND") if name in os.environ}
    with _of_new_processes():
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAM], stdin=subprocess.PIPE, pass_fds=passed, start_new_session=True,
            env={**kept, **variables, "PYTHONPATH": path},
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


def pid_of_other(directory: Path) -> int | None:
    """The process that parses requests, while the cloud runs; None when there is no such."""
    with contextlib.suppress(OSError, ValueError):
        return int((directory / PID).read_text())
    return None
