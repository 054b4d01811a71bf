"""What `pileus test` passes on to pytest."""

import os

import pytest

from pileus.cli.test import _chance
from pileus.model.errors import Invalid


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PILEUS_SEED", "PILEUS_KILLS"):
        monkeypatch.setenv(name, "before")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("rest", [["--seed", "7", "-q", "--kills=40", "-k", "x"], ["-q", "--kills", "40", "--seed=7", "-k", "x"]])
def test_seed_and_kills_are_for_the_tests_and_the_rest_for_pytest(rest: list[str]) -> None:
    assert _chance(rest) == ["-q", "-k", "x"]
    assert (os.environ["PILEUS_SEED"], os.environ["PILEUS_KILLS"]) == ("7", "40")


@pytest.mark.parametrize("rest", [["--seed"], ["--seed", "-q"], ["--kills="], ["--kills", "many"]])
def test_what_is_no_number_is_refused(rest: list[str]) -> None:
    with pytest.raises(Invalid, match="wants a number"):
        _chance(rest)
