"""What else hangs on a server: addresses, interfaces, volumes, password, topology, diagnostics, console log, migrations."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus.api.compute import fields, server_views
from pileus.api.compute import servers as resource
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, NotFound
from pileus.model.guests import Diagnostics
from pileus.model.messages import ConsoleLog, DiagnosticsReply, ReadConsoleLog, ReadDiagnostics
from pileus.model.ports import ServerPort
from pileus.model.servers import Server
from pileus.store import device_tags
from pileus.store.ports import ports_of

STRICT = (2, 102)
STATES = {
    "running": "running",
    "paused": "paused",
    "stopped": "shutdown",
    "crashed": "crashed",
    "suspended": "suspended",
    "absent": "shutdown",
}
NIC_FIGURES = ("rx_drop", "rx_errors", "rx_octets", "rx_packets", "rx_rate", "tx_drop", "tx_errors", "tx_octets", "tx_packets", "tx_rate")
DISK_FIGURES = ("errors_count", "read_bytes", "read_requests", "write_bytes", "write_requests")


class LogLength(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many lines; -1 and null: all that is kept."""

    length: Annotated[int, Meta(ge=-1)] | Annotated[str, Meta(pattern=r"^-?[0-9]{1,18}\Z")] | None = None


class GetConsoleOutput(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action os-getConsoleOutput."""

    log: LogLength = msgspec.field(name="os-getConsoleOutput")


async def _ports(request: Request) -> tuple[Server, list[ServerPort]]:
    fields.check_queries(request, {}, STRICT)
    server = await resource.visible(request, request.cloud.db)
    return server, (await ports_of(request.cloud.db, [server.id]))[server.id]


async def addresses(request: Request) -> dict[str, Any]:
    """GET ips."""
    _, ports = await _ports(request)
    return {"addresses": _plain(ports)}


async def addresses_of_network(request: Request) -> dict[str, Any]:
    """GET ips/{network}."""
    _, ports = await _ports(request)
    name = request.params["network"]
    found = _plain(ports)
    if name not in found:
        raise NotFound("Instance is not a member of specified network")
    return {name: found[name]}


def _plain(ports: list[ServerPort]) -> dict[str, Any]:
    every = server_views.addresses(ports)
    return {network: [{"addr": one["addr"], "version": one["version"]} for one in listed] for network, listed in every.items()}


async def interfaces(request: Request) -> dict[str, Any]:
    """GET os-interface."""
    server, ports = await _ports(request)
    tags = await device_tags.of_server(request.cloud.db, server.id)
    return {"interfaceAttachments": [_interface(port, tags) for port in ports]}


async def interface(request: Request) -> dict[str, Any]:
    """GET os-interface/{port_id}."""
    server, ports = await _ports(request)
    tags = await device_tags.of_server(request.cloud.db, server.id)
    for port in ports:
        if port.id == request.params["port_id"]:
            return {"interfaceAttachment": _interface(port, tags)}
    raise NotFound(f"Instance {server.id} does not have a port with id {request.params['port_id']}")


def _interface(port: ServerPort, tags: dict[str, str]) -> dict[str, Any]:
    return {
        "port_id": port.id,
        "net_id": port.network_id,
        "mac_addr": port.mac_address,
        "port_state": port.status,
        "fixed_ips": [{"subnet_id": one.subnet_id, "ip_address": one.ip_address} for one in port.fixed_ips],
        "tag": tags.get(port.id),
    }


async def virtual_interfaces(request: Request) -> dict[str, Any]:
    """GET os-virtual-interfaces, gone with 2.44."""
    _, ports = await _ports(request)
    return {"virtual_interfaces": [{"id": one.id, "mac_address": one.mac_address, "net_id": one.network_id} for one in ports]}


async def volumes(request: Request) -> dict[str, Any]:
    """GET os-volume_attachments: none, while there is no volume service."""
    fields.check_queries(request, {"limit": (2, 1), "offset": (2, 1)}, (2, 75))
    await resource.visible(request, request.cloud.db)
    return {"volumeAttachments": []}


async def volume(request: Request) -> None:
    """GET, PUT, DELETE os-volume_attachments/{volume_id}: there is none."""
    server = await resource.visible(request, request.cloud.db)
    raise NotFound(f"volume_id not found: {request.params['volume_id']} on instance {server.id}")


async def shares(request: Request) -> dict[str, Any]:
    """GET shares: none, while there is no share service."""
    await resource.visible(request, request.cloud.db)
    return {"shares": []}


async def share(request: Request) -> None:
    """GET, DELETE shares/{share_id}: there is none."""
    server = await resource.visible(request, request.cloud.db)
    raise NotFound(f"Share {request.params['share_id']} not found on instance {server.id}")


async def password(request: Request) -> dict[str, str]:
    """GET os-server-password: what the guest itself has posted, encrypted for its owner's key. Guests can't post here, so it is empty."""
    fields.check_queries(request, {}, STRICT)
    await resource.visible(request, request.cloud.db)
    return {"password": ""}


async def clear_password(request: Request) -> None:
    """DELETE os-server-password."""
    await resource.unlocked(request, request.cloud.db)


async def topology(request: Request) -> dict[str, Any]:
    """GET topology: guests of ours have no NUMA nodes of their own."""
    fields.check_queries(request, {}, STRICT)
    await resource.visible(request, request.cloud.db)
    return {"nodes": [], "pagesize_kb": None}


async def diagnostics(request: Request) -> dict[str, Any]:
    """GET diagnostics."""
    fields.check_queries(request, {}, STRICT)
    server = await resource.visible(request, request.cloud.db)
    host = placed(server, "get_diagnostics")
    reply = await request.cloud.bus.request(host, ReadDiagnostics(guest_id=server.id), timeout=20)
    assert isinstance(reply, DiagnosticsReply)  # the bus gives what the request asks for
    return _diagnostics(reply.diagnostics, server)


def _diagnostics(found: Diagnostics, server: Server) -> dict[str, Any]:
    cpus = [
        {"id": one.get("id", index), "time": one.get("time"), "utilisation": one.get("utilisation")}
        for index, one in enumerate(found.cpu_details)
    ]
    return {
        "state": STATES.get(found.state, found.state),
        "driver": "libvirt",  # Nova's schema knows four names, and clients no other; `hypervisor` is the true one
        "hypervisor": found.hypervisor or found.driver,
        "hypervisor_os": found.hypervisor_os,
        "uptime": found.uptime,
        "config_drive": server.config_drive,
        "num_cpus": len(cpus),
        "num_nics": len(found.nic_details),
        "num_disks": len(found.disk_details),
        "cpu_details": cpus,
        "nic_details": [
            {"mac_address": one.get("mac_address"), **{name: one.get(name) for name in NIC_FIGURES}} for one in found.nic_details
        ],
        "disk_details": [{name: one.get(name) for name in DISK_FIGURES} for one in found.disk_details],
        "memory_details": {"maximum": found.memory_maximum, "used": found.memory_used},
    }


async def console_output(request: Request) -> dict[str, str]:
    """The action os-getConsoleOutput."""
    server = await resource.visible(request, request.cloud.db)
    host = placed(server, "get_console_output")
    length = request.body.log.length
    lines = None if length is None or int(length) < 0 else int(length)
    reply = await request.cloud.bus.request(host, ReadConsoleLog(guest_id=server.id, lines=lines), timeout=20)
    assert isinstance(reply, ConsoleLog)  # the bus gives what the request asks for
    return {"output": reply.text if lines is None else "\n".join(reply.text.split("\n")[-lines:]) if lines else ""}


def placed(server: Server, action: str) -> str:
    """The host of a server that was brought there; Conflict when it was not."""
    if server.host is None or server.observed is None:
        raise Conflict(f"Instance {server.id} is not ready: '{action}' waits until it is on a host.")
    return server.host
