"""Fencing as root's process does it when managers without privileges ask: by the way that root's settings say, for names that are names."""

import ipaddress
import re

from pileus.bus.supervision import Fencer
from pileus.config import Config
from pileus.core.availability import Fence, fence_of
from pileus.model.errors import Invalid

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
"""A host's name. What begins with anything else could be taken for an option of the command."""


def checked(host: str, address: str, fencing: dict[str, str]) -> Fence:
    """How this host is fenced. Invalid when what was given is no host's name and address, or when nobody has said how."""
    if not NAME.fullmatch(host):
        raise Invalid("A host that is to be fenced has no valid name.")
    try:
        if address:
            ipaddress.ip_address(address)
    except ValueError as error:
        raise Invalid(f"Host {host}, which is to be fenced, has no valid address.") from error
    if (how := fence_of(host, fencing)) is None:
        raise Invalid(f'Host {host} is not fenced: "fencing" in config.json, as it was at the start, names no way.')
    return how


def fencer(config: Config) -> Fencer:
    """Fences by the settings as they were when root started this process."""

    async def do(host: str, address: str) -> str:
        from pileus.reconcile.fencing import fence

        return await fence(host, address, checked(host, address, config.fencing), config.directory / "secrets")

    return do


def runs_commands(config: Config) -> bool:
    """Whether the operator's own command does it, which may need anything that root has."""
    return any(text.startswith("command:") for text in config.fencing.values())
