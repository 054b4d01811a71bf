"""Guests of 512 bytes: they boot in a tenth of a second under any accelerator and obey, or ignore, the power button."""

from pathlib import Path
from uuid import uuid4

from pileus.model.guests import DiskImage, Guest, GuestDisk

SIZE = 1 << 20

_HALT = bytes.fromhex("fbf4ebfc")  # sti; hlt; jmp back
_POWER_OFF = bytes.fromhex("ba0406b80020ef")  # write SLP_EN to q35's PM1a control register at 0x604
_ENABLE_BUTTON = bytes.fromhex("ba0206b80001ef")  # PM1 enable register at 0x602: power button
_AWAIT_BUTTON = bytes.fromhex("fbf4ba0006edf6c40174f5")  # sti; hlt; read PM1 status at 0x600; again unless its bit 8 is set
_SEGMENTS = bytes.fromhex("31c08ed8")  # data segment 0


def _print(text: str) -> bytes:
    """Print on the first serial port; the text lies behind the code at 0x7d00."""
    assert len(text) < 0xF0
    return bytes.fromhex("be007dac84c07406baf803eeebf5")


def _sector(code: bytes, text: str = "") -> bytes:
    return (code.ljust(0x100, b"\0") + text.encode()).ljust(510, b"\0") + b"\x55\xaa"


GREETING = "first line\r\nsecond line\r\nready\r\n"
OBEDIENT = _sector(_SEGMENTS + _print(GREETING) + _ENABLE_BUTTON + _AWAIT_BUTTON + _POWER_OFF + _HALT, GREETING)
"""Prints a greeting, waits for the power button, powers off."""
_SOME_SECONDS = bytes.fromhex("b93c00fbf4e2fc")  # 60 times: wait for a tick of the clock
LATE = _sector(_SEGMENTS + _print(GREETING) + _SOME_SECONDS + _ENABLE_BUTTON + _AWAIT_BUTTON + _POWER_OFF + _HALT, GREETING)
"""As OBEDIENT, but boots for some seconds more, in which it does not hear the power button."""
DEAF = _sector(_SEGMENTS + _print(GREETING) + _HALT, GREETING)
"""Prints a greeting and ignores the power button."""
SHORT_LIVED = _sector(_POWER_OFF + _HALT)
"""Powers off at once."""


_COUNT = bytes.fromhex(
    "31c08ed88ec0"  # segments 0
    "8816007e"  # keep the number of the disk
    "b341"  # bl = 'A'
    "fbf4"  # again: wait for a tick of the clock, some 18 a second
    "88d8baf803ee"  # print bl
    "881e0080"  # and write it, as a sector, to the second sector of the disk, by the firmware
    "53b80103b902008a16007eb600bb0080cd135b"
    "fec380fb5b7502b341"  # the next letter; A after Z
    "ebd6"
)
COUNTING = _sector(_COUNT)
"""Prints the alphabet again and again, a letter at each tick of the clock, and writes each letter to its disk's second sector."""


_DIRTY = bytes.fromhex(
    "31c08ed8b3418b366c04fb"  # segment 0, bl = 'A', si = the clock
    "b80010"  # again: from 64 KiB
    "8ec031ff"
    "26fe0581c7001075f7"  # change a byte in each page
    "0500103d009075eb"  # up to 576 KiB
    "3b366c0474e2"  # until the clock ticks
    "8b366c0488d8baf803ee"  # then print bl
    "fec380fb5b7502b341"  # the next letter; A after Z
    "ebcd"
)
BUSY = _sector(_DIRTY)
"""Prints a letter at each tick of the clock, and changes half a MiB of memory all the time in between."""


def image(directory: Path, sector: bytes) -> DiskImage:
    """A raw image that starts with this sector."""
    path = directory / f"{uuid4()}.raw"
    path.write_bytes(sector.ljust(SIZE, b"\0"))
    return DiskImage(sha256=uuid4().hex * 2, path=str(path), format="raw", virtual_size=SIZE)


def guest(directory: Path, sector: bytes = OBEDIENT) -> Guest:
    """A small guest that boots from it."""
    root = GuestDisk(name="root", size=4 * SIZE, image=image(directory, sector))
    return Guest(id=str(uuid4()), name="tiny", project_id="project", generation=1, vcpus=1, memory_mib=64, disks=[root], video="none")
