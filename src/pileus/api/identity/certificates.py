"""Whose certificates a directory may have: a file of them, a directory, or what this machine trusts."""

import ssl
from pathlib import Path


def trusted(place: str | None) -> ssl.SSLContext:
    """Python's own rules for a client, with these certificates alone. OSError when they can't be read."""
    if place is None:
        return ssl.create_default_context()
    if not Path(place).exists():
        raise FileNotFoundError(0, "it is not there, or this process may not see it", place)
    if Path(place).is_dir():
        return ssl.create_default_context(capath=place)
    return ssl.create_default_context(cafile=place)
