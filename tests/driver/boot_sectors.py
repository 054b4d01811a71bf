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
DEAF = _sector(_SEGMENTS + _print(GREETING) + _HALT, GREETING)
"""Prints a greeting and ignores the power button."""
SHORT_LIVED = _sector(_POWER_OFF + _HALT)
"""Powers off at once."""


def image(directory: Path, sector: bytes) -> DiskImage:
    """A raw image that starts with this sector."""
    path = directory / f"{uuid4()}.raw"
    path.write_bytes(sector.ljust(SIZE, b"\0"))
    return DiskImage(sha256=uuid4().hex * 2, path=str(path), format="raw", virtual_size=SIZE)


def guest(directory: Path, sector: bytes = OBEDIENT) -> Guest:
    """A small guest that boots from it."""
    root = GuestDisk(name="root", size=4 * SIZE, image=image(directory, sector))
    return Guest(id=str(uuid4()), name="tiny", project_id="project", generation=1, vcpus=1, memory_mib=64, disks=[root], video="none")
