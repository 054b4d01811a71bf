"""Lines of progress: one a step, with the seconds that it took. On a terminal the steps at work are redrawn in place; elsewhere
a step that takes long is announced once. Standard library only, for the launcher shows its steps with it, on any Python 3.7."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from typing import Iterator  # noqa: UP035 see above

TITLE, LATE = 22, 2.0
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def live() -> bool:
    """Whether lines can be redrawn."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def paint(text: str, *codes: int) -> str:
    """Colour, where that is wanted: 1 bold, 2 dim, 31 red, 32 green, 33 yellow, 36 cyan."""
    if not (codes and live()) or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{';'.join(map(str, codes))}m{text}\033[0m"


class Step:
    """A step at work: `note` what it found, `progress` how far it is (0 to 1)."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.text = ""
        self.started = time.monotonic()
        self.announced = False
        self._part: float | None = None

    def note(self, text: str) -> None:
        """What to say beside the title."""
        self.text = text
        self._part = None

    def progress(self, part: float, text: str = "") -> None:
        """How much is done, and of what."""
        self._part = min(max(part, 0.0), 1.0)
        self.text = text

    def at_work(self, width: int, frame: int) -> str:
        """The line while it runs, no wider than the terminal."""
        seconds = time.monotonic() - self.started
        bar = "" if self._part is None else f"{'━' * round(self._part * 16):<16} {self._part:4.0%} "
        tail = f"  {seconds:.0f} s" if seconds >= LATE else ""
        text = f"{self.title:<{TITLE}} {bar}{self.text}"[: max(width - len(tail) - 4, 10)]
        return f"{paint(SPINNER[frame % len(SPINNER)], 36)} {text}{paint(tail, 2)}"

    def done(self, worked: bool) -> str:
        """The line that stays."""
        seconds = time.monotonic() - self.started
        took = paint(f"  {seconds:.1f} s", 2) if seconds >= 0.1 else ""
        text = self.text if self._part is None else ""
        return f"{paint('✓', 32) if worked else paint('✗', 31)} {self.title:<{TITLE}} {text}".rstrip() + took


class _Board:
    """The steps at work, drawn below what is finished. Steps of several threads may run at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: list[Step] = []
        self._drawn = 0
        self._frame = 0
        self._ticking = False

    def add(self, one: Step) -> None:
        with self._lock:
            self._steps.append(one)
            self._draw()
            if not self._ticking:
                self._ticking = True
                threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def finish(self, one: Step, worked: bool) -> None:
        with self._lock:
            self._steps.remove(one)
            self._draw(one.done(worked))

    def _tick(self) -> None:
        while True:
            time.sleep(0.1)
            with self._lock:
                if not self._steps:
                    self._ticking = False
                    return
                self._frame += 1
                self._draw()

    def _draw(self, finished: str = "") -> None:
        lines = [finished] if finished else []
        if live():
            width = shutil.get_terminal_size().columns
            lines += [one.at_work(width, self._frame) for one in self._steps]
            back = f"\033[{self._drawn}A" if self._drawn else ""
            self._drawn = len(self._steps)
            _write(back + "".join(f"\r\033[K{line}\n" for line in lines) + "\033[J")
            return
        for one in self._steps:
            if not one.announced and time.monotonic() - one.started > LATE:
                one.announced = True
                lines.append(f"… {one.title:<{TITLE}} {one.text}".rstrip())
        if lines:
            _write("".join(f"{line}\n" for line in lines))


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, UnicodeEncodeError):  # nobody reads, or it can't be shown: no reason to stop
        pass


_BOARD = _Board()


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Show a step while it runs, and how long it took."""
    current = Step(title)
    _BOARD.add(current)
    try:
        yield current
    except BaseException:
        _BOARD.finish(current, worked=False)
        raise
    _BOARD.finish(current, worked=True)
