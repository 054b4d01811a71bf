"""Fixtures of the fault tests: a state directory that is filled, and one on a small disk of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.harness import _template
from tests.faults.incarnation import live
from tests.faults.operations import fill

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="session")
def filled() -> Iterator[Path]:
    """A state directory with flavors, image and networks; to be copied."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        directory = Path(place) / "state"
        shutil.copytree(_template(), directory)
        live(directory, fill)
        (directory / "journal").unlink()
        yield directory


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory: lives end by being killed, not by a power failure, and they sync thousands of times."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


@pytest.fixture
def state(filled: Path, place: Path) -> Path:
    """A copy of what is filled."""
    return Path(shutil.copytree(filled, place / "state"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
