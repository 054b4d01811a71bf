"""Lines of progress: one a step, with the seconds that it took; a bar where a step takes long, on a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click


class Step:
    """A step at work: `note` what it found, `progress` how far it is (0 to 1)."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.text = ""
        self.live = sys.stderr.isatty()
        self._shown = 0.0

    def note(self, text: str) -> None:
        """What to say beside the title."""
        self.text = text
        self._show()

    def progress(self, part: float) -> None:
        """How much is done."""
        self.text = f"{part:4.0%}"
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if self.live and (now - self._shown > 0.05):
            self._shown = now
            click.echo(f"\r\033[K… {self.title}  {self.text}", err=True, nl=False)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Show a step while it runs, and how long it took."""
    started = time.monotonic()
    current = Step(title)
    if current.live:
        click.echo(f"… {title}", err=True, nl=False)
    try:
        yield current
    except BaseException:
        start = "\r\033[K" if current.live else ""
        click.echo(f"{start}{click.style('✗', fg='red')} {title}  {current.text}", err=True)
        raise
    start = "\r\033[K" if current.live else ""
    seconds = time.monotonic() - started
    tail = click.style(f"  {seconds:.1f} s" if seconds >= 0.1 else "", dim=True)
    detail = f"  {current.text}" if current.text and not current.text.endswith("%") else ""
    click.echo(f"{start}{click.style('✓', fg='green')} {title}{detail}{tail}", err=True)
