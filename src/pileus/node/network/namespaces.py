"""Network namespaces: made, listed, removed, and entered by threads of their own, so that the event loop never changes its own."""

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from pileus.model.errors import NodeFailed

DIRECTORY = Path("/run/netns")
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED, MNT_DETACH = 0x1000, 0x4000, 1 << 20, 2
T = TypeVar("T")


class NamespaceMissing(NodeFailed):
    """The network namespace is missing."""


_libc = ctypes.CDLL(None, use_errno=True)


def exists(name: str) -> bool:
    """Whether the namespace is there; a file left by an interrupted attempt is not one."""
    try:
        return os.stat(DIRECTORY / name).st_dev != os.stat(DIRECTORY).st_dev
    except FileNotFoundError:
        return False


def listed(prefix: str) -> list[str]:
    """Names of the namespaces that begin so."""
    try:
        return sorted(entry for entry in os.listdir(DIRECTORY) if entry.startswith(prefix))
    except FileNotFoundError:
        return []


def in_thread(function: Callable[[], T]) -> T:
    """Run in a thread that is never used again: what it does to its own namespace ends with it. Blocks."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            results.append(function())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def inside(name: str, function: Callable[[], T]) -> T:
    """Run inside the namespace. What it opens or starts there (sockets, taps, processes) stays there. Blocks."""

    def body() -> T:
        try:
            descriptor = os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NamespaceMissing(f"The network namespace {name} is missing.") from None
        try:
            if _libc.setns(descriptor, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                if number == errno.EINVAL:  # the file alone was left when it was opened: the namespace is made, or removed, at this moment
                    raise NamespaceMissing(f"The network namespace {name} is missing.")
                _fail(number, f"enter the network namespace {name}")
        finally:
            os.close(descriptor)
        return function()

    return in_thread(body)


def throwaway(function: Callable[[], T]) -> T:
    """Run in a new namespace that has no name and is gone afterwards. Blocks."""

    def body() -> T:
        _check(_libc.unshare(CLONE_NEWNET), "make a network namespace")
        return function()

    return in_thread(body)


def create(name: str) -> bool:
    """Make the namespace if it is missing, as `ip netns add` does; True when it is new."""
    if exists(name):
        return False
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = DIRECTORY / name
    path.touch(mode=0o444)

    def body() -> None:
        _check(_libc.unshare(CLONE_NEWNET), "make a network namespace")
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net".encode()
        _check(_libc.mount(source, str(path).encode(), b"none", MS_BIND, None), f"mount the network namespace {name}")

    try:
        in_thread(body)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def remove(name: str) -> None:
    """Remove the namespace; fine when it is gone already. Its devices go with it when nothing else holds it."""
    path = DIRECTORY / name
    with contextlib.suppress(NodeFailed):  # not mounted: the file alone is left, or not even that
        _check(_libc.umount2(str(path).encode(), MNT_DETACH), f"unmount the network namespace {name}")
    path.unlink(missing_ok=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        _fail(ctypes.get_errno(), what)


def _fail(number: int, what: str) -> NoReturn:
    raise NodeFailed(f"Can't {what}: {os.strerror(number)}. Networks need root (CAP_SYS_ADMIN and CAP_NET_ADMIN).")
