"""How servers look in the newest version's form; whole pages are kept encoded, for as long as nothing in them has changed."""

import hashlib
from collections.abc import Sequence
from typing import Any

from pileus.api.compute import fields
from pileus.api.request import Request, encode
from pileus.model.base import Model
from pileus.model.ports import ServerPort
from pileus.model.servers import Server, Status
from pileus.store import hosts, ports, server_groups, server_networks
from pileus.store.hosts import HostHead
from pileus.store.servers import SERVERS

PROGRESSING = frozenset({Status.ACTIVE, Status.BUILD, Status.REBUILD})
PART = 500
MOST_BYTES = 48 << 20


class Scene(Model, frozen=True, kw_only=True):
    """What is needed beside the rows to draw some servers."""

    request: Any
    admin: bool
    base: str
    ports: dict[str, list[ServerPort]]
    groups: dict[str, list[str]]
    hosts: dict[str, str]  # name -> UP, DOWN, MAINTENANCE


class Cache:
    """Encoded servers: variant -> id -> (stamp, bytes). Emptied when it grows beyond its limit."""

    def __init__(self) -> None:
        self.kept: dict[Any, dict[str, tuple[Any, bytes]]] = {}
        self.size = 0

    def of(self, variant: Any) -> dict[str, tuple[Any, bytes]]:
        """The servers as they were encoded in this variant, with the stamp of then."""
        return self.kept.get(variant, {})

    def put(self, variant: Any, server_id: str, stamp: Any, data: bytes) -> None:
        """Keep it."""
        if self.size > MOST_BYTES:
            self.kept.clear()
            self.size = 0
        self.kept.setdefault(variant, {})[server_id] = (stamp, data)
        self.size += len(data)


CACHE = Cache()


async def scene(request: Request, servers: Sequence[Server]) -> Scene:
    """Look up what these servers show of their networks and hosts."""
    ids = [server.id for server in servers]
    admin = request.identity.is_admin
    return Scene(
        request=request,
        admin=admin,
        base=request.service_url + request.project_path,
        ports=await ports.ports_of(request.cloud.db, ids),
        groups=await server_networks.group_names(request.cloud.db, ids),
        hosts=await host_states(request) if admin else {},
    )


async def host_states(request: Request) -> dict[str, str]:
    """Host name -> its state as Nova calls it."""
    now, silence = request.received_at, request.cloud.config.node_silence
    return {host.name: _host_state(host, now, silence) for host in await hosts.every_head(request.cloud.db)}


def _host_state(host: HostHead, now: float, silence: float) -> str:
    if not host.enabled:
        return "MAINTENANCE"
    return "UP" if hosts.is_up(host, now, silence) else "DOWN"


async def one(request: Request, server: Server) -> dict[str, Any]:
    """One server in full, with its groups."""
    document = draw(await scene(request, [server]), server)
    group = await server_groups.group_of(request.cloud.db, server.id)
    document["server_groups"] = [group] if group else []
    return document


async def page(request: Request, rows: Sequence[tuple[str, float]]) -> list[bytes]:
    """Servers of a detailed list, encoded in the request's version. `rows` are (id, updated_at)."""
    ids = [row[0] for row in rows]
    db = request.cloud.db
    admin = request.identity.is_admin
    seen_hosts = tuple(sorted((await host_states(request)).items())) if admin else ()
    variant = (request.version, admin, request.base_url + request.project_path, seen_hosts, await server_networks.names_stamp(db))
    nets = await server_networks.stamps(db, ids)
    kept, found, stamps = CACHE.of(variant), dict.fromkeys(ids, b""), dict[str, Any]()
    for key, updated in rows:
        stamp, known = (updated, nets.get(key)), kept.get(key)
        if known is not None and known[0] == stamp:
            found[key] = known[1]
        else:
            stamps[key] = stamp
    missing = list(stamps)
    for start in range(0, len(missing), PART):
        part = missing[start : start + PART]
        servers = await SERVERS.find(db, f"id IN ({', '.join('?' * len(part))})", *part)
        view = await scene(request, servers)
        documents: dict[str, Any] = {"servers": [draw(view, server) for server in servers]}
        assert request.service.history
        documents = request.service.history.downgrade(request, "servers_detail", documents)
        for server, document in zip(servers, documents["servers"], strict=True):
            found[server.id] = data = encode(document)
            CACHE.put(variant, server.id, stamps[server.id], data)
    return list(filter(None, found.values()))  # without those that are gone since


def draw(view: Scene, server: Server) -> dict[str, Any]:
    """A server as `GET /servers/detail` shows it."""
    request: Request = view.request
    request.notes.setdefault("flavor_ids", {})[server.id] = server.flavor.id  # for versions that show the flavor's id
    own = view.ports.get(server.id, [])
    key = server.id
    document: dict[str, Any] = {
        "id": key,
        "name": server.name,
        "status": str(server.status),
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.metadata,
        "hostId": host_id(server),
        "image": _image(view.base, server),
        "flavor": _flavor(server),
        "created": fields.iso(server.created_at),
        "updated": fields.iso(server.updated_at),
        "addresses": addresses(own),
        "accessIPv4": server.access_ip_v4,
        "accessIPv6": server.access_ip_v6,
        "links": fields.links(request, "servers", key),
        "OS-DCF:diskConfig": server.disk_config,
        "OS-EXT-AZ:availability_zone": server.availability_zone or server.requested_zone or "",
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": fields.iso_micro(server.launched_at),
        "OS-SRV-USG:terminated_at": fields.iso_micro(server.terminated_at),
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [],
        "OS-EXT-SRV-ATTR:hostname": server.hostname,
        "locked": server.locked,
        "locked_reason": server.locked_reason,
        "description": server.description,
        "tags": server.tags,
        "trusted_image_certificates": server.trusted_certificates,
        "pinned_availability_zone": server.requested_zone,
        "scheduler_hints": server.hints,
    }
    if view.groups.get(key):
        document["security_groups"] = [{"name": name} for name in view.groups[key]]
    if server.status in PROGRESSING:
        document["progress"] = 0
    if server.fault is not None and server.status in (Status.ERROR, Status.DELETED):
        document["fault"] = _fault(server, view.admin)
    return document | _for_admins(view, server) if view.admin else document


def _for_admins(view: Scene, server: Server) -> dict[str, Any]:
    properties = server.image.get("properties") or {}
    return {
        "host_status": view.hosts.get(server.host or "", ""),
        "OS-EXT-SRV-ATTR:host": server.host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": server.host,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{server.id[:8]}",
        "OS-EXT-SRV-ATTR:reservation_id": server.reservation_id,
        "OS-EXT-SRV-ATTR:launch_index": server.launch_index,
        "OS-EXT-SRV-ATTR:kernel_id": properties.get("kernel_id", ""),
        "OS-EXT-SRV-ATTR:ramdisk_id": properties.get("ramdisk_id", ""),
        "OS-EXT-SRV-ATTR:root_device_name": server.root_device,
        "OS-EXT-SRV-ATTR:user_data": server.user_data,
    }


def _image(base: str, server: Server) -> Any:
    if not server.image_id:
        return ""
    return {
        "id": server.image_id,
        "links": [{"rel": "bookmark", "href": f"{base}/images/{server.image_id}"}],
        "properties": {name: str(value) for name, value in (server.image.get("properties") or {}).items()},
    }


def _flavor(server: Server) -> dict[str, Any]:
    one = server.flavor
    return {
        "original_name": one.name,
        "vcpus": one.vcpus,
        "ram": one.ram,
        "disk": one.disk,
        "ephemeral": one.ephemeral,
        "swap": one.swap,
        "extra_specs": one.extra_specs,
    }


def _fault(server: Server, admin: bool) -> dict[str, Any]:
    assert server.fault is not None
    fault = {"code": server.fault.code, "message": server.fault.message, "created": fields.iso(server.fault.created_at)}
    if server.fault.details and (admin or server.fault.code != 500):
        fault["details"] = server.fault.details
    return fault


def addresses(own: Sequence[ServerPort]) -> dict[str, list[dict[str, Any]]]:
    """Network name -> fixed and floating addresses."""
    found: dict[str, list[dict[str, Any]]] = {}
    for port in own:
        listed = found.setdefault(port.network_name, [])
        for fixed in port.fixed_ips:
            listed.append(_address(fixed.ip_address, "fixed", port.mac_address))
            listed += [_address(floating, "floating", port.mac_address) for at, floating in port.floating_ips if at == fixed.ip_address]
    return found


def _address(text: str, kind: str, mac: str) -> dict[str, Any]:
    return {"addr": text, "version": 6 if ":" in text else 4, "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": mac}


def host_id(server: Server) -> str:
    """The host as a user may see it: the same for servers of one project on one host."""
    return hashlib.sha224(f"{server.project_id}{server.host}".encode()).hexdigest() if server.host else ""


def raw_list(name: str, parts: list[bytes], after: Any) -> bytes:
    """{"servers": [...]} of encoded servers; they are megabytes, and copied once."""
    tail = (b',"servers_links":' + encode(after) if after else b"") + b"}"
    head = b'{"' + name.encode() + b'":['
    if not parts:
        return head + b"]" + tail
    return b",".join([head + parts[0], *parts[1:-1], parts[-1] + b"]" + tail]) if len(parts) > 1 else head + parts[0] + b"]" + tail
