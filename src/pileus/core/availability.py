"""High availability: which servers start elsewhere when their host is lost, and whether a host is known to run nothing any more."""

from enum import StrEnum
from urllib.parse import urlsplit

from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.model.guests import ObservedPower
from pileus.model.hosts import Host
from pileus.model.servers import Server

MARK = "HA_Enabled"
"""In a server's metadata or its flavor's extra specs, the word of OpenStack's Masakari."""


class Evacuate(StrEnum):
    """Which servers start elsewhere by themselves."""

    NONE = "none"
    MARKED = "marked"
    ALL = "all"


class Fence(Model, frozen=True, kw_only=True):
    """How a host is made to run nothing: by a command, or by its board's power switch."""

    kind: str  # command, ipmi, redfish
    target: str  # the command, or HOST[:PORT][/path]
    user: str = ""


def restarts_elsewhere(server: Server, policy: str) -> bool:
    """Whether the server is to be started on another host when its own is lost. What the server says wins over its flavor.

    One that is suspended is not: its memory lies on its host, and comes back with that.
    """
    if server.deleted_at is not None or server.host is None:
        return False
    if server.observed is not None and server.observed.power == ObservedPower.SUSPENDED:
        return False
    said = server.metadata.get(MARK, server.flavor.extra_specs.get(MARK))
    if said is not None and policy != Evacuate.NONE:
        return said.strip().lower() in ("true", "1", "yes", "on")
    return policy == Evacuate.ALL


def is_fenced(host: Host) -> bool:
    """Whether the host was fenced and has not reported since."""
    return host.fenced_at is not None and host.seen_at < host.fenced_at


def fence_of(name: str, fencing: dict[str, str]) -> Fence | None:
    """How this host is fenced ("*" is for all that are not named); None when nobody has said."""
    text = fencing.get(name, fencing.get("*"))
    return None if text is None else parse_fence(text)


def parse_fence(text: str) -> Fence:
    """command:PROGRAM ARGUMENTS, ipmi://USER@HOST, redfish://USER@HOST/redfish/v1/Systems/ID; Invalid when it is none of these."""
    kind, _, rest = text.partition(":")
    if kind == "command" and rest.strip():
        return Fence(kind=kind, target=rest.strip())
    parts = urlsplit(text)
    if parts.password:
        raise Invalid("fencing: a password stands in secrets/fencing.json ({host: password}), not in the address.")
    try:
        parts.port  # noqa: B018 it is parsed here
    except ValueError as error:
        raise Invalid(f"fencing: {text!r}: {error}.") from error
    if kind == "ipmi" and parts.hostname and parts.username:
        return Fence(kind=kind, target=parts.netloc.rpartition("@")[2], user=parts.username)
    if kind == "redfish" and parts.hostname and parts.username and parts.path.strip("/"):
        return Fence(kind=kind, target=f"{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}", user=parts.username)
    raise Invalid(
        f"fencing: {text!r} is none of command:PROGRAM, ipmi://USER@HOST, redfish://USER@HOST/redfish/v1/Systems/ID"
        " (passwords: secrets/fencing.json)."
    )
