"""Consoles: a token for one console of one server, and the address that a browser or client opens with it."""

from typing import Any, Literal

import msgspec

from pileus.api.compute import fields
from pileus.api.compute import servers as resource
from pileus.api.compute.server_parts import placed
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound, NotImplementedYet
from pileus.model.guests import ConsoleKind, ObservedPower
from pileus.store import consoles

PROTOCOLS = {
    "vnc": ("novnc", "xvpvnc"),
    "serial": ("serial",),
    "spice": ("spice-html5", "spice-direct"),
    "rdp": ("rdp-html5",),
    "mks": ("webmks",),
}
NEW = {"mks": (2, 8), "webmks": (2, 8), "spice-direct": (2, 99)}


class WantedConsole(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which console, and for which kind of client."""

    protocol: Literal["vnc", "spice", "rdp", "serial", "mks"]
    type: Literal["novnc", "xvpvnc", "spice-html5", "spice-direct", "rdp-html5", "serial", "webmks"]


class CreateConsole(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST remote-consoles."""

    console: WantedConsole = msgspec.field(name="remote_console")


class OldType(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Below 2.6: the kind of client."""

    type: str


class OldVnc(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action os-getVNCConsole."""

    console: OldType = msgspec.field(name="os-getVNCConsole")


class OldSerial(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action os-getSerialConsole."""

    console: OldType = msgspec.field(name="os-getSerialConsole")


async def create(request: Request) -> dict[str, Any]:
    """POST remote-consoles."""
    wanted: WantedConsole = request.body.console
    if any(NEW.get(name, (2, 6)) > request.version for name in (wanted.protocol, wanted.type)):
        raise Invalid(f"Invalid input for field/attribute type. Value: {wanted.type}. It came with a later version.", field="type")
    if wanted.type not in PROTOCOLS[wanted.protocol]:
        raise Invalid(f"Invalid console type {wanted.type} for protocol {wanted.protocol}")
    url = await _open(request, wanted.protocol, wanted.type)
    return {"remote_console": {"protocol": wanted.protocol, "type": wanted.type, "url": url}}


async def create_vnc(request: Request) -> dict[str, Any]:
    """The action os-getVNCConsole."""
    return await _old(request, "vnc")


async def create_serial(request: Request) -> dict[str, Any]:
    """The action os-getSerialConsole."""
    return await _old(request, "serial")


async def unavailable(request: Request) -> None:
    """The actions of consoles that no hypervisor of ours has."""
    await resource.visible(request, request.cloud.db)
    raise Invalid("Unavailable console type: this cloud has vnc and serial consoles.")


async def show_token(request: Request) -> dict[str, Any]:
    """GET os-console-auth-tokens/{token}: which console a token opens. It is a Unix socket of the host, so there is no port."""
    fields.check_queries(request, {}, (2, 99))
    found = await consoles.redeem(request.cloud.db, request.params["token"], request.received_at)
    if found is None:
        raise NotFound("Token not found")
    return {"console": {"instance_uuid": found.server_id, "host": found.host, "port": 0, "internal_access_path": None, "tls_port": None}}


async def _old(request: Request, protocol: str) -> dict[str, Any]:
    kind = request.body.console.type
    if kind not in PROTOCOLS[protocol]:
        raise Invalid(f"Invalid console type {kind}")
    return {"console": {"type": kind, "url": await _open(request, protocol, kind)}}


async def _open(request: Request, protocol: str, kind: str) -> str:
    server = await resource.visible(request, request.cloud.db)
    if kind not in ("novnc", "serial"):
        raise NotImplementedYet(f"There are no {kind} consoles; ask for vnc (novnc) or serial.", status=400)
    host = placed(server, "get_vnc_console" if protocol == "vnc" else "get_serial_console")
    assert server.observed is not None  # placed says so
    if server.observed.power not in (ObservedPower.RUNNING, ObservedPower.PAUSED):
        raise Conflict(f"Instance {server.id} is not running: it has no console now.")
    console = ConsoleKind(protocol)
    token = await request.cloud.db.write(lambda tx: consoles.issue(tx, server.id, host, console, request.received_at))
    scheme, _, rest = request.base_url.partition("://")
    if console == ConsoleKind.SERIAL:
        return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/console/serial?token={token}"
    return f"{request.base_url}/console/vnc?token={token}"
