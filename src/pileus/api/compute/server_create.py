"""POST /servers: what is asked for is checked, then rows, ports, quota and the action are written in one transaction."""

import re
import secrets
import string
import uuid
from ipaddress import ip_address
from typing import Any

import msgspec

from pileus import clock
from pileus.api import policy
from pileus.api.compute import fields, flavors
from pileus.api.compute.server_bodies import NewServer, PersonalityFile, WantedDisk
from pileus.api.compute.server_images import remembered, usable_image
from pileus.api.compute.server_networks import Nic, group_ids, plug, wanted_nics
from pileus.api.request import Request, Response
from pileus.core.placement_request import check_hints
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound, NotImplementedYet, QuotaExceeded
from pileus.model.flavors import Flavor
from pileus.model.images import Image
from pileus.model.keypairs import Keypair
from pileus.model.servers import Server
from pileus.store import actions, device_tags, keypairs, quotas, server_groups, servers
from pileus.store.aggregates import DEFAULT_ZONE
from pileus.store.database import Transaction
from pileus.store.sealing import seal_of

LETTERS = string.ascii_letters + string.digits
PASSWORD_LENGTH = 12
MOST_SERVERS = 1000


class Order(Model, frozen=True, kw_only=True):
    """A request that was checked: what all its servers share. `least`: fewer than `most` servers will do."""

    new: NewServer
    flavor: Flavor
    image: Image | None
    keypair: Keypair | None
    nics: list[Nic]
    groups: list[str] | None
    group: str | None
    hints: dict[str, Any]
    password: str
    personality: dict[str, str]
    zone: str | None
    host: str | None
    least: int
    most: int


async def create(request: Request) -> Response:
    """POST /servers."""
    order = await check(request)
    batch = await request.cloud.db.write(lambda tx: write(tx, request, order))
    for server in batch:
        request.cloud.wake("servers", server.id)
    if fields.flag(order.new.return_reservation_id):
        return Response(202, {"reservation_id": batch[0].reservation_id})
    first = batch[0]
    document = {
        "id": first.id,
        "links": fields.links(request, "servers", first.id),
        "OS-DCF:diskConfig": first.disk_config,
        "security_groups": [{"name": one.name} for one in order.new.security_groups or []] or [{"name": "default"}],
        "adminPass": order.password,
    }
    return Response(202, {"server": document}, {"Location": f"{fields.version_url(request)}/servers/{first.id}"})


async def check(request: Request) -> Order:
    """What is asked for, with all that it names looked up. Nothing is written."""
    new: NewServer = request.body.server
    db = request.cloud.db
    least = int(new.min_count)
    most = int(new.max_count) if new.max_count is not None else least
    if least > most:
        raise Invalid("min_count must be <= max_count", field="min_count")
    if most > MOST_SERVERS:
        raise Invalid(f"max_count is at most {MOST_SERVERS}", field="max_count")
    await _check_fields(request, new)
    flavor = await _flavor(request, new)
    image_id = _image_ref(new)
    keypair = await _keypair(request, new)
    zone, host = await _place(request, new)
    hints = {**request.body.old_hints, **request.body.hints}
    check_hints(hints)
    groups = [one.name for one in new.security_groups or []]
    nics = await wanted_nics(request, new, most)
    image = await usable_image(request, image_id, flavor)
    return Order(
        new=new,
        flavor=flavor,
        image=image,
        keypair=keypair,
        nics=nics,
        groups=(await group_ids(db, request.project_id, groups) or None) if groups else None,
        group=await _group(request, hints, most),
        hints=hints,
        password=new.admin_pass or "".join(secrets.choice(LETTERS) for _ in range(PASSWORD_LENGTH)),
        personality=await _personality(request),
        zone=zone,
        host=host,
        least=least,
        most=most,
    )


async def write(tx: Transaction, request: Request, order: Order) -> list[Server]:
    """Charge quota; add the rows, the ports and the actions. As many servers as quota allows between least and most."""
    count = await _affordable(tx, request.project_id, order)
    batch = await servers.insert_servers(tx, _rows(request, order, count))
    for server in batch:
        await plug(tx, server, order.nics, order.groups)
        await actions.start(tx, server.id, "create", request.id, server.user_id, server.project_id)
    if any(nic.tag for nic in order.nics):
        await _keep_tags(tx, batch, order)
    if order.group:
        await server_groups.join(tx, order.group, [server.id for server in batch])
    return batch


async def _affordable(tx: Transaction, project_id: str, order: Order) -> int:
    each = {"instances": 1, "cores": order.flavor.vcpus, "ram": order.flavor.ram, **quotas.classes_of(order.flavor.frozen())}
    for count in range(order.most, order.least - 1, -1):
        try:
            await quotas.charge(tx, project_id, **{name: count * amount for name, amount in each.items()})
            return count
        except QuotaExceeded:
            if count == order.least:
                raise
    return order.least


async def _keep_tags(tx: Transaction, batch: list[Server], order: Order) -> None:
    for server in batch:
        rows = await tx.all("SELECT id FROM ports WHERE device_id = ? ORDER BY created_at, id", server.id)
        ids = [nic.port.id if nic.port else row[0] for nic, row in zip(order.nics, rows, strict=True)]
        await device_tags.keep(tx, server.id, {port: nic.tag for port, nic in zip(ids, order.nics, strict=True) if nic.tag})


def _rows(request: Request, order: Order, count: int) -> list[Server]:
    new, now = order.new, clock.now()
    reservation = "r-" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    sealed = seal_of(request.cloud.config.directory).close(order.password)
    names = [new.name] if order.most == 1 else [f"{new.name}-{index + 1}" for index in range(count)]
    first = Server(
        id="",
        created_at=now,
        updated_at=now,
        project_id=request.project_id,
        user_id=request.identity.user_id,
        name=new.name,
        hostname="",
        description=new.description,
        image_id=order.image.id if order.image else None,
        image=remembered(order.image) if order.image else {},
        flavor=order.flavor.frozen(),
        vcpus=order.flavor.vcpus,
        memory_mib=order.flavor.ram,
        key_name=new.key_name,
        public_key=order.keypair.public_key if order.keypair else None,
        user_data=new.user_data,
        admin_password=sealed,
        metadata=new.metadata,
        tags=sorted(set(new.tags)),
        config_drive=fields.flag(new.config_drive),
        requested_zone=order.zone,
        requested_host=order.host,
        hints=order.hints,
        personality=order.personality,
        reservation_id=reservation,
        access_ip_v4=canonical(new.access_ip_v4),
        access_ip_v6=canonical(new.access_ip_v6),
        disk_config=new.disk_config,
        trusted_certificates=new.trusted_image_certificates,
        request_id=request.id,
    )
    batch: list[Server] = []
    for index, name in enumerate(names):
        key = str(uuid.uuid4())
        given = new.hostname and (new.hostname if order.most == 1 else f"{new.hostname}-{index + 1}")
        hostname = given or host_name(name, key)
        batch.append(msgspec.structs.replace(first, id=key, name=name, hostname=hostname, launch_index=index))
    return batch


def host_name(name: str, key: str) -> str:
    """A host name made of a server's name, as Nova makes it: spaces and underscores to dashes, other characters dropped, lower case."""
    text = re.sub(r"[ _.]", "-", name)
    text = re.sub(r"[^a-zA-Z0-9-]", "", text).lower().strip(".-")[:63].rstrip("-")
    return text or f"server-{key}"


async def check_metadata(request: Request, items: dict[str, str]) -> None:
    """QuotaExceeded when a server of the project may not have so many items of metadata."""
    if items:
        limit = await quotas.limit(request.cloud.db, request.project_id, "metadata_items")
        if 0 <= limit < len(items):
            raise QuotaExceeded(f"Maximum number of metadata items exceeds {limit}")


async def _check_fields(request: Request, new: NewServer) -> None:
    check_addresses(new.access_ip_v4, new.access_ip_v6)
    if new.user_data is not None:
        fields.decoded(new.user_data, "user_data")
    await check_metadata(request, new.metadata)
    if (new.host or new.hypervisor_hostname) and not request.identity.is_admin:
        policy.require(request, "compute:servers:create:requested_destination")
    if new.hostname and int(new.max_count or new.min_count) > 1 and "." in new.hostname:
        raise Invalid("A fully qualified host name can't be given to more than one server.", field="hostname")


def canonical(text: str) -> str:
    """An address that was checked, in its usual form."""
    return str(ip_address(text)) if text else ""


def check_addresses(v4: str, v6: str) -> None:
    """Invalid unless these are addresses of their kind, or empty."""
    for name, text, version in (("accessIPv4", v4, 4), ("accessIPv6", v6, 6)):
        try:
            good = not text or (ip_address(text).version == version and "%" not in text)
        except ValueError:
            good = False
        if not good:
            raise Invalid(f"Invalid input for field/attribute {name}. Value: {text}. '{text}' is not a 'ipv{version}'", field=name)


async def _flavor(request: Request, new: NewServer) -> Flavor:
    try:
        return await flavors.visible(request, str(new.flavor_ref))
    except NotFound as error:
        raise Invalid(error.message, field="flavorRef") from error


def _image_ref(new: NewServer) -> str:
    mapped = [*new.block_device_mapping, *new.block_device_mapping_v2]
    from_disks: list[str] = []
    for disk in mapped:
        if image := _mapped_image(disk):
            from_disks.append(image)
    if len(set(from_disks)) > 1 or (new.image_ref and from_disks and from_disks[0] != new.image_ref):
        raise Invalid(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid."
        )
    image = new.image_ref or (from_disks[0] if from_disks else "")
    if not image:
        raise Invalid("Invalid imageRef provided: an image is needed.", field="imageRef")
    return image


def _mapped_image(disk: WantedDisk) -> str | None:
    """The image of the boot disk. What the flavor gives anyway (blank local disks) is accepted; volumes wait for the volume service."""
    source = disk.source_type or ("volume" if disk.volume_id else "snapshot" if disk.snapshot_id else "image" if disk.image_id else "blank")
    if source in ("volume", "snapshot") or disk.destination_type == "volume":
        raise NotImplementedYet(
            "Servers on volumes are not done yet: there is no volume service. Use an image with destination_type local."
        )
    if source == "blank":
        return None
    image = disk.uuid or disk.image_id
    if not image:
        raise Invalid("Block Device Mapping is Invalid: an image needs its uuid.", field="block_device_mapping_v2")
    if disk.boot_index is None or int(disk.boot_index) != 0:
        raise Invalid("Block Device Mapping is Invalid: Mapping image to local is not supported.", field="block_device_mapping_v2")
    return image


async def _keypair(request: Request, new: NewServer) -> Keypair | None:
    if new.key_name is None:
        return None
    try:
        return await keypairs.get(request.cloud.db, request.identity.user_id, new.key_name)
    except NotFound as error:
        raise Invalid(f"Invalid key_name provided: keypair {new.key_name} not found.", field="key_name") from error


async def _place(request: Request, new: NewServer) -> tuple[str | None, str | None]:
    """(zone, host) that are asked for. `zone:host:node` and `host` are for administrators."""
    zone, host, node = [*(new.availability_zone or "").split(":"), "", ""][:3]
    if (new.availability_zone or "").count(":") > 2:
        raise Invalid("Invalid availability zone: it is zone, zone:host or zone:host:node.", field="availability_zone")
    if host or node:
        policy.require(request, "os_compute_api:servers:create:forced_host")
        if new.host or new.hypervisor_hostname:
            raise Invalid("A host can't be given twice: in availability_zone and by host or hypervisor_hostname.", field="host")
    wanted = host or node or new.host or new.hypervisor_hostname or None
    db = request.cloud.db
    if zone and zone != DEFAULT_ZONE and not await db.value("SELECT 1 FROM hosts WHERE availability_zone = ? LIMIT 1", zone):
        raise Invalid("The requested availability zone is not available", field="availability_zone")
    if wanted is not None and not await db.value("SELECT 1 FROM hosts WHERE name = ?", wanted):
        raise Invalid(f"No hosts are available: there is no host {wanted}.", field="host")
    return zone or None, wanted


async def _group(request: Request, hints: dict[str, Any], servers_wanted: int) -> str | None:
    wanted = hints.get("group")
    if wanted is None:
        return None
    key = wanted[0] if isinstance(wanted, list) and wanted else wanted
    try:
        group = await server_groups.get(request.cloud.db, str(key))
    except NotFound as error:
        raise Invalid(f"Instance group {key} could not be found.", field="group") from error
    if group.project_id != request.project_id and not request.identity.is_admin:
        raise Invalid(f"Instance group {key} could not be found.", field="group")
    limit = await quotas.limit(request.cloud.db, request.project_id, "server_group_members")
    if 0 <= limit < len(await server_groups.members(request.cloud.db, group.id)) + servers_wanted:
        raise QuotaExceeded("Quota exceeded, too many servers in group")
    return group.id


async def _personality(request: Request) -> dict[str, str]:
    """Files that versions below 2.57 bring."""
    raw = request.notes.get("personality")
    if not raw:
        return {}
    try:
        files = msgspec.convert(raw, list[PersonalityFile])
    except msgspec.ValidationError as error:
        raise Invalid(f"Invalid input for field/attribute personality: {error}", field="personality") from error
    limits = await quotas.limits(request.cloud.db, request.project_id, "compute")
    if 0 <= limits["injected_files"] < len(files):
        raise QuotaExceeded("Personality file limit exceeded")
    for file in files:
        if 0 <= limits["injected_file_path_bytes"] < len(file.path.encode()):
            raise QuotaExceeded("Personality file path too long")
        if 0 <= limits["injected_file_content_bytes"] < len(fields.decoded(file.contents, "personality")):
            raise QuotaExceeded("Personality file content too long")
    return {file.path: file.contents for file in files}
