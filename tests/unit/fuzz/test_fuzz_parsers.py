"""Samples of all that is parsed, mutated for a moment: bytes changed, cut, doubled, put together, and words of the formats strewn in.

The mutations are the same at each run; PILEUS_FUZZ_SEED and PILEUS_FUZZ_COUNT try others and more.
"""

import os
import random
import time

import pytest

from tests.unit.fuzz.targets import TARGETS

SEED, COUNT = int(os.environ.get("PILEUS_FUZZ_SEED", "1")), int(os.environ.get("PILEUS_FUZZ_COUNT", "1200"))
COSTLY = {"image_inspection": 5, "archives_of_images": 4, "proxmox_backups": 4, "settings": 3, "config_drive": 2, "patterns": 2}
"""Target -> by what the count is divided."""
SECONDS = 3.0
"""Of the processor's time that one input may take."""
WORDS = [
    b"\0", b"\xff" * 8, b"\x7f\xff\xff\xff", b"\r\n", b"\n", b"..", b"/", b"%00", b'"', b"\\", b"{", b"[" * 200, b"9" * 400, b"-1",
    b"QFI\xfb", b"KDMV", b"conectix", b"# Disk DescriptorFile", b"CD001", b"GET /", b"=", b",", b" ", b"\xc2\x85", b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80", b"(a|b)*", b"**", b"\x80",
]  # fmt: skip


def mutated(dice: random.Random, samples: list[bytes]) -> bytes:
    """A sample with some changes, or bytes from nowhere."""
    if dice.random() < 0.05:
        return dice.randbytes(dice.randrange(300))
    data = dice.choice(samples)
    for _ in range(dice.randrange(5)):
        at = dice.randrange(min(len(data), 600) + 1) if dice.random() < 0.7 else dice.randrange(len(data) + 1)
        kind = dice.randrange(6)
        if kind == 0:
            data = data[:at] + dice.randbytes(dice.randrange(1, 9)) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + dice.choice(WORDS) + data[at:]
        elif kind == 2:
            data = data[:at] + data[at + dice.randrange(1, 65) :]
        elif kind == 3:
            data = data[:at] + data[at : at + 64] + data[at:]
        elif kind == 4:
            data = data[:at] + dice.choice(samples)[at:]
        else:
            size = dice.choice([2, 4, 8])
            number = dice.choice([0, 1, (1 << 8 * size) - 1, 1 << (8 * size - 1), 1 << 15])
            data = data[:at] + number.to_bytes(size, dice.choice(["big", "little"])) + data[at + size :]  # type: ignore[arg-type]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_samples_are_parsed(name: str) -> None:
    target, samples = TARGETS[name]
    for one in [*samples, b"", b"\0" * 600, bytes(range(256)) * 8]:
        target(one)


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_parser(name: str) -> None:
    target, samples = TARGETS[name]
    dice = random.Random(f"{name} {SEED}")
    for _ in range(COUNT // COSTLY.get(name, 1)):
        data = mutated(dice, samples)
        began = time.process_time()
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"{name} fails for {data[:3000]!r} ({len(data)} bytes)") from error
        assert time.process_time() - began < SECONDS, f"{name} takes long for {data[:3000]!r}"
