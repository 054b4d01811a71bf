"""Lines of progress as a pipe and as a terminal show them."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from pileus.cli import progress
from pileus.cli.progress import step

PLAIN = re.compile(r"\033\[[0-9;]*[A-Za-z]|\r")


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in PLAIN.sub("", text).splitlines()]


def test_a_pipe_gets_one_line_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    with step("Networks") as current:
        current.progress(0.5, "half")
        current.note("two of them")
    assert lines(capsys.readouterr().err) == ["✓ Networks               two of them"]


def test_a_step_that_fails_says_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), step("Networks") as current:
        current.note("the second")
        raise ValueError("no")
    assert lines(capsys.readouterr().err) == ["✗ Networks               the second"]


def test_a_step_that_takes_long_is_announced_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LATE", 0.05)
    announced = wait_for_output(capsys, "…")
    with step("Packages") as current:
        current.note("fetching")
        text = announced()
    assert lines(text)[0] == "… Packages               fetching"
    assert "…" not in capsys.readouterr().err


def wait_for_output(capsys: pytest.CaptureFixture[str], mark: str, seconds: float = 5) -> Callable[[], str]:
    def wait() -> str:
        deadline = time.monotonic() + seconds
        text = ""
        while mark not in text and time.monotonic() < deadline:
            text += capsys.readouterr().err
            time.sleep(0.01)
        return text

    return wait


def test_a_terminal_sees_the_steps_at_work_and_what_is_left_are_the_finished(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "live", lambda: True)
    inner, outer = threading.Event(), threading.Event()

    def other() -> None:
        with step("Packages"):
            inner.set()
            outer.wait(5)

    thread = threading.Thread(target=other)
    with step("Environment") as current:
        thread.start()
        assert inner.wait(5)
        current.progress(0.25, "uv")
    outer.set()
    thread.join()
    shown = screen(capsys.readouterr().err)
    assert [line[:14].rstrip() for line in shown] == ["✓ Environment", "✓ Packages"]


def screen(text: str) -> list[str]:
    """What a terminal shows after the text: cursor up, erase line, erase below."""
    rows, row = [""], 0
    for part in re.split(r"(\033\[\d*[A-Za-z]|\033\[[0-9;]*m|\n|\r)", text):
        if part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif match := re.fullmatch(r"\033\[(\d+)A", part):
            row -= int(match[1])
        elif part == "\033[K":
            rows[row] = ""
        elif part == "\033[J":
            rows = [*rows[:row], ""]
        elif part and not part.startswith("\033") and part != "\r":
            rows[row] += part
    return [line for line in rows if line]


def test_the_line_at_work_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    one = progress.Step("Debian packages")
    one.progress(0.5, "Unpacking " + "x" * 200)
    assert len(one.at_work(60, 0)) <= 60


def test_a_terminal_of_few_characters_stops_nothing() -> None:
    code = "from pileus.cli.progress import step\nwith step('x'): pass"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(progress.__file__).partition("pileus/cli")[0]},
    )
    assert done.returncode == 0, done.stderr
