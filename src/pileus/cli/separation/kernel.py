"""The calls of the kernel that Python has no function for, with errors as OSError."""

import ctypes
import errno
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2

SET_PDEATHSIG, SET_DUMPABLE, CAPBSET_READ, CAPBSET_DROP, SET_NO_NEW_PRIVS, CAP_AMBIENT = 1, 4, 23, 24, 38, 47
AMBIENT_CLEAR_ALL = 4
_VERSION = 0x20080522


class _Libc:
    """Functions of the C library that return -1 and set errno."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, name)

        def call(*arguments: Any) -> int:
            result = int(function(*arguments))
            if result < 0:
                error = ctypes.get_errno()
                raise OSError(error, f"{name}: {os.strerror(error)}")
            return result

        return call


libc = _Libc()


def mount(source: str | Path, target: str | Path, kind: str = "none", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    try:
        libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode() or None)
    except OSError as error:
        raise OSError(error.errno, f"mount {source}", str(target)) from error


def pivot_root_here() -> None:
    """Make the current directory, a mount, the root, and let go of what was it."""
    number = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    libc.syscall(ctypes.c_long(number), b".", b".")
    libc.umount2(b".", DETACH)
    os.chdir("/")


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    """prctl(2)."""
    return int(libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(third), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def bound_capabilities(kept: Collection[int]) -> None:
    """From now on no program that this process starts, and not this process, gets any other capability than these."""
    prctl(CAP_AMBIENT, AMBIENT_CLEAR_ALL)
    for number in range(64):
        try:
            if number not in kept and prctl(CAPBSET_READ, number):
                prctl(CAPBSET_DROP, number)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return  # the kernel knows no more


def set_capabilities(kept: Collection[int], later: bool = False) -> None:
    """Have of these capabilities those that are there, and no others; inherit none. `later`: the others may be taken up again."""
    have = next(int(line.split()[1], 16) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapPrm"))
    mask = sum(1 << one for one in kept) & have
    permitted = have if later else mask
    low, high = (mask & 0xFFFFFFFF, permitted & 0xFFFFFFFF, 0), (mask >> 32, permitted >> 32, 0)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(*low, *high)))
