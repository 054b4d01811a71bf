"""What `pileus test` passes on to pytest."""

import os
from pathlib import Path

import pytest

from pileus.cli import test as command
from pileus.cli.test import UNSTEADY, _chance, _steadily
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


def written(folder: Path, body: str) -> list[str]:
    """A file of tests, as the arguments that run it."""
    file = folder / "test_some.py"
    file.write_text(f"import pathlib\nimport pytest\nRUNS = pathlib.Path({str(folder / 'runs')!r})\n{body}")
    return ["-q", str(file)]


def test_one_that_passes_when_it_is_run_alone_fails_nothing_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = "def test_good(): RUNS.open('a').write('good ')"
    body = f"{good}\ndef test_odd():\n    RUNS.open('a').write('odd ')\n    assert 'odd odd' in RUNS.read_text()"
    assert _steadily(tmp_path, written(tmp_path, body)) == 0
    assert (tmp_path / "runs").read_text() == "good odd odd "
    assert "unsteady" in (told := capsys.readouterr().out) and "test_odd" in told and "test_good" not in told


def test_one_that_fails_twice_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _steadily(tmp_path, written(tmp_path, "def test_bad():\n    RUNS.open('a').write('x')\n    assert False")) == 1
    assert (tmp_path / "runs").read_text() == "xx" and "unsteady" not in capsys.readouterr().out


def test_many_that_fail_are_not_tried_again(tmp_path: Path) -> None:
    body = f"@pytest.mark.parametrize('n', range({UNSTEADY + 1}))\ndef test_bad(n):\n    RUNS.open('a').write('x')\n    assert False"
    assert _steadily(tmp_path, written(tmp_path, body)) == 1
    assert len((tmp_path / "runs").read_text()) == UNSTEADY + 1


def test_a_run_that_a_signal_has_ended_fails(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "driver"
    folder.mkdir(parents=True)
    (folder / "test_x.py").write_text("import os, signal\n\ndef test_x():\n    os.kill(os.getpid(), signal.SIGTERM)\n")
    assert command.pytest(tmp_path, ["driver"], []) > 0
