"""Secrets that the store must give back in clear (a server's first password): sealed with a key that lies beside the store."""

import os
from functools import lru_cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from pileus import durable
from pileus.model.errors import Unavailable

KEY = Path("secrets", "seal.key")
LONGEST = 128
"""Bytes of a key's file."""


class Seal:
    """Seals and unseals text with the key in DIR/secrets/seal.key, made on first use, mode 0600; or, unless `make`, there already."""

    def __init__(self, directory: Path, make: bool = True) -> None:
        self._fernet = Fernet(_key(directory / KEY)) if make else _opened(directory / KEY)

    def close(self, text: str) -> str:
        """The text, sealed."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The text again; Unavailable when the key is another one."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise Unavailable("A sealed secret can't be opened: the key in the state directory is another one.") from error


@lru_cache(maxsize=8)
def seal_of(directory: Path) -> Seal:
    """The seal of a state directory."""
    return Seal(directory)


def seal_that_is_there(directory: Path) -> Seal:
    """The same for a process that must not make the key. Unavailable when there is none, or it is no key."""
    return Seal(directory, make=False)


def _opened(path: Path) -> Fernet:
    """Of a directory that belongs to a process without privileges, perhaps: no link is followed, and no pipe is waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return Fernet(os.read(handle, LONGEST))
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise Unavailable(f"The key {path} can't be read. Bring it back from a copy of this directory.") from error


def _key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return durable.create(path, Fernet.generate_key())
