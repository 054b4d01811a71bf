"""Secrets that the store must give back in clear (a server's first password): sealed with a key that lies beside the store."""

from functools import lru_cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from pileus import durable
from pileus.model.errors import Unavailable


class Seal:
    """Seals and unseals text with the key in DIR/secrets/seal.key, made on first use, mode 0600."""

    def __init__(self, directory: Path) -> None:
        self._fernet = Fernet(_key(directory / "secrets" / "seal.key"))

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


def _key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return durable.create(path, Fernet.generate_key())
