"""Rotating Fernet keys in a directory: file 0 is staged, the highest number is primary, those between still decrypt."""

import functools
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from pileus import durable

KEPT = 3


@functools.lru_cache(maxsize=64)
def key_ring(directory: Path) -> "KeyRing":
    """The ring of a directory, read once."""
    return KeyRing(directory)


class KeyRing:
    """The keys of a directory (mode 0700, files 0600); made when there are none."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        if not self._numbers():
            self._write(0)
            self._write(1)
        self._read()

    def encrypt(self, data: bytes) -> bytes:
        """A Fernet token of the data, by the primary key."""
        return self._fernet.encrypt(data)

    def decrypt(self, token: bytes) -> bytes:
        """The data; InvalidToken when no key of ours made the token. Keys that another process has rotated in are found."""
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            if self.directory.stat().st_mtime_ns == self._changed:
                raise
        self._read()
        return self._fernet.decrypt(token)

    def rotate(self) -> None:
        """The staged key becomes primary, a new one is staged, the oldest beyond three goes."""
        primary = max(self._numbers()) + 1
        (self.directory / "0").rename(self.directory / str(primary))
        self._write(0)
        secondary = sorted(number for number in self._numbers() if number)
        for number in secondary[: max(0, len(secondary) + 1 - KEPT)]:
            (self.directory / str(number)).unlink()
        self._read()

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self.directory.iterdir() if path.name.isdigit()]

    def _read(self) -> None:
        self._changed = self.directory.stat().st_mtime_ns
        keys = [Fernet((self.directory / str(number)).read_bytes()) for number in sorted(self._numbers(), reverse=True)]
        self._fernet = MultiFernet(keys)

    def _write(self, number: int) -> None:
        durable.write(self.directory / str(number), Fernet.generate_key())
