"""The clock that everything decides by, and that nobody looks past it."""

import re
import time
from pathlib import Path

import pytest

from pileus import clock

SOURCE = Path(__file__).parents[2] / "src" / "pileus"
DECIDING = sorted(path for folder in ("api", "reconcile", "store", "bus") for path in (SOURCE / folder).rglob("*.py"))
PAST = re.compile(r"(?<![\w.])time\.(time|monotonic|perf_counter|thread_time)\b")


class Stopped:
    """A clock that somebody else moves."""

    def now(self) -> float:
        return 5.0

    def monotonic(self) -> float:
        return 6.0

    def worked(self) -> float:
        return 7.0


def test_it_is_the_machines_unless_another_is_in_its_place() -> None:
    with clock.replaced(Stopped()):
        assert (clock.now(), clock.monotonic(), clock.worked()) == (5.0, 6.0, 7.0)
    assert clock.now() == pytest.approx(time.time(), abs=5)
    assert clock.monotonic() == pytest.approx(time.monotonic(), abs=5)
    assert clock.worked() <= time.thread_time()


@pytest.mark.parametrize("path", DECIDING, ids=[str(path.relative_to(SOURCE)) for path in DECIDING])
def test_nobody_looks_past_it(path: Path) -> None:
    assert not PAST.search(path.read_text()), "use pileus.clock, which a simulation can replace"
