"""QEMU's process: started in a session of its own under the lock of the guest's directory, adopted later, watched by pidfd, ended."""

import asyncio
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from pileus.model.errors import NodeFailed

LOCK = "lock"
PID = "pid"


def take_lock(directory: Path) -> int | None:
    """An open descriptor that holds the guest's lock, or None when a QEMU holds it. Whoever inherits it keeps the lock."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def spawn(directory: Path, argv: Sequence[str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a program that outlives us, with the guest's directory as its own; what it says goes to `qemu.log`."""
    log = os.open(directory / "qemu.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=descriptors,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C.UTF-8"},
        )
    except OSError as error:
        raise NodeFailed("QEMU could not be started.", detail=f"{argv[0]}: {error.strerror}") from error
    finally:
        os.close(log)
    (directory / PID).write_text(str(process.pid))
    return process


def said(directory: Path, size: int = 2000) -> str:
    """The last that QEMU wrote to its standard error."""
    try:
        return (directory / "qemu.log").read_text(errors="replace")[-size:].strip()
    except OSError:
        return ""


def find_pid(directory: Path, guest_id: str) -> int | None:
    """The process that runs the guest: as noted, or found among all processes when we died before noting it."""
    try:
        noted = int((directory / PID).read_text())
    except (OSError, ValueError):
        noted = 0
    if noted and _runs(noted, directory, guest_id):
        return noted
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _runs(int(entry), directory, guest_id):
            return int(entry)
    return None


def _runs(pid: int, directory: Path, guest_id: str) -> bool:
    """Whether the process is the guest's, and works in this directory: two hosts of one machine may both have it while it moves."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        named = any(part.startswith(b"guest=" + guest_id.encode() + b",") for part in argv)
        return named and os.path.samefile(f"/proc/{pid}/cwd", directory)
    except OSError:
        return False


class Process:
    """A running QEMU. `on_exit` is called in the event loop when it has ended, and its parent, if that is us, has reaped it."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None, on_exit: Callable[["Process"], None]) -> None:
        self.pid = pid
        self.exited = asyncio.Event()
        self._child = child
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._pidfd = -1
            self._loop.call_soon(self._ended)
        else:
            self._loop.add_reader(self._pidfd, self._ended)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; never to another process that got the same id."""
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                pass

    async def wait(self, seconds: float) -> bool:
        """Whether it ended in time."""
        try:
            await asyncio.wait_for(self.exited.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def kill(self) -> None:
        """End it at once. NodeFailed when the kernel can't (a process in uninterruptible sleep)."""
        self.signal(signal.SIGKILL)
        if not await self.wait(10.0):
            raise NodeFailed("The guest's QEMU could not be ended.", detail=f"process {self.pid} ignores SIGKILL")

    def release(self) -> None:
        """Watch it no more."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _ended(self) -> None:
        self.release()
        if self._child:
            self._child.poll()
        if not self.exited.is_set():
            self.exited.set()
            self._on_exit(self)
