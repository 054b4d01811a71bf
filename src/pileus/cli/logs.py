"""The log of a process: one line an event, with the id of the request that it is done for, as text or as JSON."""

import logging
import logging.handlers
import os
import time
from io import TextIOWrapper
from pathlib import Path

import msgspec

from pileus.core import request_ids

LARGEST, KEPT = 10 << 20, 3
"""Bytes of a file, and how many older ones stay."""
LONGEST = 64 << 10
"""Characters of a line that another process has formatted."""
PASSED_ON = "passed on"


class TextLines(logging.Formatter):
    """`2026-11-21T17:02:03.123Z WARNING pileus.engine req-...: message`. A message has one line; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        request = request_ids.CURRENT.get()
        head = f"{_time_of(record)} {record.levelname} {record.name}{' ' if request else ''}{request}: "
        message = record.getMessage().replace("\r", r"\r").replace("\n", r"\n")
        return head + message + "".join(f"\n  {line}" for line in _traceback(self, record).splitlines())


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, and where there are any request_id and exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        found = {"time": _time_of(record), "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if request := request_ids.CURRENT.get():
            found["request_id"] = request
        if exception := _traceback(self, record):
            found["exception"] = exception
        return msgspec.json.encode(found).decode()


class PrivateFile(logging.handlers.RotatingFileHandler):
    """A file that turns over at a size, and that its owner and group alone read, however often it does. It is never another's link."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.fdopen(os.open(self.baseFilename, flags, 0o640), "a", encoding=self.encoding)

    def format(self, record: logging.LogRecord) -> str:
        """The line; one that another process has formatted, as it is."""
        return record.getMessage() if record.name == PASSED_ON else super().format(record)


def log_to(directory: Path, also_terminal: bool, form: str = "text") -> None:
    """Everything to DIR/log/pileus.log (10 MiB, three older ones kept); errors to the terminal where there is one."""
    folder = directory / "log"
    folder.mkdir(mode=0o750, exist_ok=True)
    file = PrivateFile(folder / "pileus.log", maxBytes=LARGEST, backupCount=KEPT)
    file.setFormatter(JsonLines() if form == "json" else TextLines())
    handlers: list[logging.Handler] = [file]
    if also_terminal:
        terminal = logging.StreamHandler()
        terminal.setLevel(logging.ERROR)
        terminal.setFormatter(TextLines())
        handlers.append(terminal)
    _log(handlers)


def _log(handlers: list[logging.Handler]) -> None:
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    for chatty in ("qemu", "uvicorn", "asyncio", "pyroute2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def log_through(pipe: int, form: str = "text") -> None:
    """Everything to a pipe, whose other end `pass_on` reads; errors to the terminal as well."""
    lines, terminal = logging.StreamHandler(os.fdopen(pipe, "w", buffering=1, errors="replace")), logging.StreamHandler()
    lines.setFormatter(JsonLines() if form == "json" else TextLines())
    terminal.setLevel(logging.ERROR)
    terminal.setFormatter(TextLines())
    _log([lines, terminal])


def pass_on(pipe: int) -> None:
    """Write what comes from another process into our file, until that has ended. Blocks. Its lines are what it says, no more."""
    files = [one for one in logging.getLogger().handlers if isinstance(one, PrivateFile)]
    with os.fdopen(pipe, "r", errors="replace", newline="\n") as lines:
        while line := lines.readline(LONGEST):
            shown = "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line.rstrip("\n"))
            for file in files:
                file.handle(logging.LogRecord(PASSED_ON, logging.INFO, "", 0, shown, (), None))


def _time_of(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    return "\n".join(parts + ([formatter.formatStack(record.stack_info)] if record.stack_info else []))
