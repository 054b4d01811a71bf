"""The control plane is killed before and after every write and every request to a node; its next life finishes what was begun.

For each operation: killed at the first point, at the second, ... until it is done without reaching the point. Each time the next life
must settle, keep every invariant, and show the operation done as far as it was answered for, or one request further; never half of one.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.incarnation import KILLED, Life, journal, live
from tests.faults.losses import LOSSES
from tests.faults.operations import OPERATIONS, Operation

EVERY = [*OPERATIONS, *LOSSES]
NAMES = [one.name for one in EVERY]
MOST_POINTS = 200


@pytest.fixture
def begun(filled: Path, place: Path) -> Path:
    """A copy of what is filled, to be filled further."""
    return copied(filled, place / "begun")


def copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    (target / "journal").unlink(missing_ok=True)
    return target


def begin(directory: Path, operation: Operation) -> None:
    async def script(life: Life) -> None:
        await operation.begin(life)
        await life.settled()

    live(directory, script, settings=operation.settings)


def run(directory: Path, operation: Operation, fuse: int | None, twice: bool = False) -> int:
    async def script(life: Life) -> None:
        await life.settled()
        life.points.fuse, life.points.armed = fuse, True
        await operation.requests(life)
        await life.settled()
        life.points.note(points=life.points.reached)

    return live(directory, script, each_step_twice=twice, settings=operation.settings)


def examine(directory: Path, operation: Operation) -> None:
    """A next life settles, and what it shows is what its clients were told."""
    answered = sum("answered" in line for line in journal(directory))
    killed = next((line["killed"] for line in journal(directory) if "killed" in line), None)

    async def script(life: Life) -> None:
        await life.settled()
        assert await life.verify() == []
        stage = await operation.stage(life)
        possible = operation.stages[answered : answered + 2] if killed else operation.stages[-1:]
        assert any(stage in one.split("|") for one in possible), f"{stage!r}, after {answered} answers it should be of {possible}"

    try:
        live(directory, script, settings=operation.settings)
    except AssertionError as error:
        raise AssertionError(f"killed {killed}: {error}") from None


@pytest.mark.parametrize("operation", EVERY, ids=NAMES)
def test_killed_at_any_point_an_operation_is_finished_by_the_next_life(begun: Path, operation: Operation) -> None:
    begin(begun, operation)
    for point in range(1, MOST_POINTS):
        directory = copied(begun, begun.parent / "run")
        ended = run(directory, operation, point)
        examine(directory, operation)
        if ended != KILLED:
            break
    assert ended == 0, f"it has more than {MOST_POINTS} points"
    if figures := os.environ.get("PILEUS_FIGURES"):
        with Path(figures).open("a") as file:
            file.write(f"{operation.name}: {point - 1} points\n")


@pytest.mark.parametrize("operation", EVERY, ids=NAMES)
def test_a_step_done_twice_changes_nothing(begun: Path, operation: Operation) -> None:
    begin(begun, operation)
    assert run(begun, operation, None, twice=True) == 0
    examine(begun, operation)
