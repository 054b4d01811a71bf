"""Files that are there after the power failed: written beside, synced, renamed, and the directory synced, too."""

import contextlib
import os
import secrets
from pathlib import Path


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file: whoever is killed, and whatever fails, it has the old content or the new one, whole."""
    fresh = _fresh(path, data, mode)
    fresh.rename(path)
    sync_directory(path.parent)


def create(path: Path, data: bytes, mode: int = 0o600) -> bytes:
    """Make the file unless it is there; returns what it has now, which is another's content where somebody was faster."""
    fresh = _fresh(path, data, mode)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
    sync_directory(path.parent)
    return path.read_bytes()


def sync_directory(directory: Path) -> None:
    """Names that were made, changed or removed in it stay so."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fresh(path: Path, data: bytes, mode: int) -> Path:
    """A file beside it that nobody else writes."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        fresh.unlink()
        raise
    return fresh
