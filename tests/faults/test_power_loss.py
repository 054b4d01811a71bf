"""The power fails: what was written and not synced is gone. Whatever a client was answered is there all the same.

The state directory lies on a file system of its own in a file. When the control plane has been killed, the file is copied before anything
more is flushed to it: the copy is what the disk held. PILEUS_KILLS says how often (6), PILEUS_SEED how the dice fall.
"""

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pileus import durable
from pileus.node.hypervisor.simulated import SimulatedDriver
from pileus.node.hypervisor.simulated_moves import State
from tests.faults.clients import CLIENTS, Client, compare
from tests.faults.incarnation import KILLED, Life, live

LOSSES = int(os.environ.get("PILEUS_KILLS", "6"))
SEED = int(os.environ.get("PILEUS_SEED", "1"))
FARTHEST = 90


class Disk:
    """A file system in a file, mounted at `place`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "disk"
        self.place.mkdir()
        self.number = 0
        self._file.touch()
        os.truncate(self._file, 96 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._file)], check=True)
        self._mount()

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.number}.ext4"

    def lose_power(self) -> None:
        """Go on with what was really written."""
        before = self._file
        self.number += 1
        shutil.copy(before, self._file)
        self.close()
        before.unlink()
        self._mount()

    def close(self) -> None:
        subprocess.run(["umount", str(self.place)], check=True)

    def _mount(self) -> None:
        done = subprocess.run(["mount", "-o", "loop,commit=300", str(self._file), str(self.place)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system in a file can be mounted: {done.stderr.strip()}")


@pytest.fixture
def disk(place: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("mounting a file system needs root, and mkfs.ext4")
    made = Disk(place)
    yield made
    made.close()


def keep_durably(driver: SimulatedDriver, state: State) -> None:
    """As hosts that are real keep their records."""
    driver._states[state.guest.id] = state
    assert driver._directory
    driver._directory.mkdir(parents=True, exist_ok=True)
    durable.write(driver._directory / f"{state.guest.id}.json", msgspec.json.encode(state))


def test_what_was_answered_is_there_after_the_power_failed(filled: Path, disk: Disk, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedDriver, "_keep", keep_durably)
    state = disk.place / "state"
    shutil.copytree(filled, state)
    (state / "journal").symlink_to(place / "journal")  # the client's own, elsewhere
    (place / "journal").touch()
    subprocess.run(["sync", "-f", str(state)], check=True)
    dice = random.Random(SEED)
    losses = 0
    while losses < LOSSES:
        fuse, seed = dice.randint(1, FARTHEST), dice.random()

        async def script(life: Life, fuse: int = fuse, seed: float = seed) -> None:
            life.points.fuse, life.points.armed = fuse, True
            life.engine.workers = 16
            await asyncio.gather(*(Client(life, letter, random.Random(f"{seed}{letter}")).work() for letter in "abcdefgh"[:CLIENTS]))

        if live(state, script) != KILLED:
            continue
        losses += 1
        disk.lose_power()
        try:
            live(state, examine)
        except AssertionError as error:
            raise AssertionError(f"with seed {SEED}, after {losses} losses of power: {error}") from None


async def examine(life: Life) -> None:
    await compare(life, or_else={"SHUTOFF"})  # guests that ran are off now
