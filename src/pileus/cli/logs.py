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
    """A file that turns over at a size, and that its owner and group alone read, however often it does."""

    def _open(self) -> TextIOWrapper:
        os.close(os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640))
        return super()._open()


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
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    for chatty in ("qemu", "uvicorn", "asyncio", "pyroute2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _time_of(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    return "\n".join(parts + ([formatter.formatStack(record.stack_info)] if record.stack_info else []))
