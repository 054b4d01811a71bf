"""The actions rebuild and createImage: a server from another image, an image from a server."""

import secrets
import uuid
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus import clock
from pileus.api.compute import fields, server_views
from pileus.api.compute import servers as resource
from pileus.api.compute.rebuild_place import check_place
from pileus.api.compute.server_actions import SETTLED, Rule, check_state, perform
from pileus.api.compute.server_bodies import Certificates
from pileus.api.compute.server_create import LETTERS, PASSWORD_LENGTH, canonical, check_addresses, check_metadata
from pileus.api.compute.server_images import remembered, usable_image
from pileus.api.request import Request, Response
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound, QuotaExceeded
from pileus.model.images import Image, ImageStatus, Visibility
from pileus.model.servers import Server
from pileus.store import actions, images, keypairs, quotas, servers
from pileus.store.database import Transaction
from pileus.store.sealing import seal_of

REBUILD = Rule(name="rebuild", states=("active", "stopped", "error"), change=lambda server: {"builds": server.builds + 1})
SNAPSHOT = Rule(name="createImage", states=SETTLED, change=lambda server: {})
NOT_INHERITED = frozenset({"signature_verified", "instance_uuid", "user_id", "os_hidden"})
UNSET = msgspec.UNSET


class NewBuild(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rebuild may change beside the image; what is unset stays as it is."""

    image_ref: fields.Uuid = msgspec.field(name="imageRef")
    name: fields.Name | msgspec.UnsetType = UNSET
    admin_pass: str | None = msgspec.field(name="adminPass", default=None)
    metadata: fields.Metadata | msgspec.UnsetType = UNSET
    preserve_ephemeral: fields.Flag = False
    disk_config: fields.DiskConfig | msgspec.UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=UNSET)
    access_ip_v4: str | msgspec.UnsetType = msgspec.field(name="accessIPv4", default=UNSET)
    access_ip_v6: str | msgspec.UnsetType = msgspec.field(name="accessIPv6", default=UNSET)
    description: fields.Description | msgspec.UnsetType | None = UNSET
    key_name: Annotated[str, Meta(min_length=1, max_length=255)] | msgspec.UnsetType | None = UNSET
    user_data: fields.UserData | msgspec.UnsetType | None = UNSET
    trusted_image_certificates: Certificates | msgspec.UnsetType | None = UNSET
    hostname: fields.HostName | msgspec.UnsetType = UNSET


class Rebuild(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action rebuild."""

    rebuild: NewBuild


class ImageName(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the image is to be called."""

    name: fields.Name
    metadata: fields.Metadata = {}


class CreateImage(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action createImage."""

    image: ImageName = msgspec.field(name="createImage")


async def rebuild(request: Request) -> Response:
    """The action rebuild: the root disk is made anew from an image; addresses and ids stay."""
    new: NewBuild = request.body.rebuild
    seen = await resource.visible(request, request.cloud.db)
    image = await usable_image(request, new.image_ref, seen.flavor)
    await check_place(request, seen, image)
    names = ("name", "metadata", "disk_config", "access_ip_v4", "access_ip_v6", "description", "key_name", "user_data", "hostname")
    changes: dict[str, Any] = {name: value for name in names if (value := getattr(new, name)) is not UNSET}
    check_addresses(changes.get("access_ip_v4", ""), changes.get("access_ip_v6", ""))
    changes |= {name: canonical(changes[name]) for name in ("access_ip_v4", "access_ip_v6") if name in changes}
    if isinstance(new.user_data, str):
        fields.decoded(new.user_data, "user_data")
    if new.trusted_image_certificates is not UNSET:
        changes["trusted_certificates"] = new.trusted_image_certificates
    await check_metadata(request, changes.get("metadata", {}))
    if "key_name" in changes:
        changes["public_key"] = await _public_key(request, changes["key_name"])
    changes |= {"image_id": image.id, "image": remembered(image)}
    password = seal_password(request, changes, new.admin_pass)
    server = await perform(request, REBUILD, changes)
    document = await server_views.one(request, server)
    document.pop("OS-EXT-SRV-ATTR:user_data", None)
    return Response(202, {"server": document | {"user_data": server.user_data, "adminPass": password}})


def seal_password(request: Request, changes: dict[str, Any], given: str | None) -> str:
    """The password that was given, or a new one, which is returned; sealed it goes into the server's changes."""
    password = given or "".join(secrets.choice(LETTERS) for _ in range(PASSWORD_LENGTH))
    changes["admin_password"] = seal_of(request.cloud.config.directory).close(password)
    return password


async def create_image(request: Request) -> dict[str, str]:
    """The action createImage: an image that waits for its content; the reconciler has the host copy the disk."""
    wanted: ImageName = request.body.image
    limit = await quotas.limit(request.cloud.db, request.project_id, "metadata_items") if wanted.metadata else -1
    if 0 <= limit < len(wanted.metadata):
        raise QuotaExceeded("Image metadata limit exceeded")

    async def work(tx: Transaction) -> tuple[Server, Image]:
        server = await resource.unlocked(request, tx)
        check_state(server, SNAPSHOT)
        image = await images.insert(tx, snapshot_of(server, wanted, request))
        await actions.start(tx, server.id, "createImage", request.id, request.identity.user_id, server.project_id)
        return await servers.save(tx, server, pending_snapshot=image.id, request_id=request.id), image

    server, image = await request.cloud.db.write(work)
    request.cloud.wake("servers", server.id)
    return {"image_id": image.id}


def snapshot_of(server: Server, wanted: ImageName, request: Request) -> Image:
    """The row of an image of a server: it has the properties of the image that the server came from."""
    now = clock.now()
    inherited = {name: str(value) for name, value in (server.image.get("properties") or {}).items() if name not in NOT_INHERITED}
    own = {
        "image_type": "snapshot",
        "instance_uuid": server.id,
        "user_id": request.identity.user_id,
        "owner_id": server.project_id,
        "base_image_ref": server.image_id or "",
    }
    return Image(
        id=str(uuid.uuid4()),
        created_at=now,
        updated_at=now,
        owner=request.identity.project_id or server.project_id,
        name=wanted.name,
        status=ImageStatus.QUEUED,
        visibility=Visibility.PRIVATE,
        container_format="bare",
        disk_format="qcow2",
        min_disk=server.flavor.disk or int(server.image.get("min_disk") or 0),
        min_ram=int(server.image.get("min_ram") or 0),
        properties=inherited | own | wanted.metadata,
    )


async def _public_key(request: Request, name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return (await keypairs.get(request.cloud.db, request.identity.user_id, name)).public_key
    except NotFound as error:
        raise Invalid(f"Invalid key_name provided: keypair {name} not found.", field="key_name") from error
