"""Images by way of compute, gone with 2.36: the image service's, in Nova's words of old."""

from collections.abc import Callable
from typing import Any

from pileus.api.compute import fields
from pileus.api.compute.server_metadata import AllItems, OneItem
from pileus.api.image import images as service
from pileus.api.image.content import free
from pileus.api.request import Request
from pileus.model.errors import Forbidden, Invalid, NotFound
from pileus.model.images import Image, ImageStatus
from pileus.store import images as store
from pileus.store.database import Transaction
from pileus.store.listing import Condition, Listing, list_rows

STATUS = {ImageStatus.ACTIVE: ("ACTIVE", 100), ImageStatus.QUEUED: ("SAVING", 25), ImageStatus.SAVING: ("SAVING", 50)}
PROPERTIES = {"server": "instance_uuid", "type": "image_type"}
NUMBERS = {"minRam": "min_ram", "minDisk": "min_disk"}


async def index(request: Request) -> dict[str, Any]:
    """GET /images."""
    return await _list(request, "images", _brief)


async def detail(request: Request) -> dict[str, Any]:
    """GET /images/detail."""
    return await _list(request, "images/detail", _view)


async def show(request: Request) -> dict[str, Any]:
    """GET /images/{image_id}."""
    return {"image": _view(request, await _load(request))}


async def delete(request: Request) -> None:
    """DELETE /images/{image_id}."""
    image = await _own(request)
    if image.protected:
        raise Forbidden(f"Image {image.id} is protected and cannot be deleted.")
    await request.cloud.db.write(lambda tx: store.remove(tx, image.id))
    await free(request.cloud, image)


async def metadata_index(request: Request) -> dict[str, Any]:
    """GET metadata."""
    return {"metadata": (await _load(request)).properties}


async def metadata_show(request: Request) -> dict[str, Any]:
    """GET metadata/{key}."""
    return {"meta": _item(await _load(request), request.params["key"])}


async def metadata_add(request: Request) -> dict[str, Any]:
    """POST metadata: add or replace some."""
    wanted: AllItems = request.body
    return {"metadata": (await _change(request, lambda items: items | wanted.metadata)).properties}


async def metadata_replace(request: Request) -> dict[str, Any]:
    """PUT metadata: replace all."""
    wanted: AllItems = request.body
    return {"metadata": (await _change(request, lambda items: wanted.metadata)).properties}


async def metadata_set(request: Request) -> dict[str, Any]:
    """PUT metadata/{key}."""
    wanted: OneItem = request.body
    if request.params["key"] not in wanted.meta:
        raise Invalid("Request body and URI mismatch")
    await _change(request, lambda items: items | wanted.meta)
    return {"meta": wanted.meta}


async def metadata_delete(request: Request) -> None:
    """DELETE metadata/{key}."""
    key = request.params["key"]
    _item(await _load(request), key)
    await _change(request, lambda items: {name: value for name, value in items.items() if name != key})


def _item(image: Image, key: str) -> dict[str, str]:
    if key not in image.properties:
        raise NotFound("Metadata item was not found")
    return {key: image.properties[key]}


async def _change(request: Request, change: Callable[[dict[str, str]], dict[str, str]]) -> Image:
    seen = await _own(request)

    async def work(tx: Transaction) -> Image:
        image = await store.IMAGES.get(tx, seen.id)
        if image is None:
            raise NotFound("Image not found.")
        return await store.save(tx, image, properties=change(image.properties))

    return await request.cloud.db.write(work)


async def _load(request: Request) -> Image:
    try:
        return await service.load(request)
    except NotFound as error:
        raise NotFound("Image not found.") from error


async def _own(request: Request) -> Image:
    await _load(request)
    return await service.load_own(request)


async def _list(request: Request, path: str, view: Callable[[Request, Image], dict[str, Any]]) -> dict[str, Any]:
    limit, marker = fields.page_limit(request), request.query.get("marker")
    where, args = store.listed(request.identity, None, "accepted")
    if marker is not None and await store.visible(request.cloud.db, marker, request.identity) is None:
        raise Invalid(f"marker [{marker}] not found", field="marker")
    clauses, conditions = [where], [Condition(column="os_hidden", value=False)]
    for name, value in request.queries:
        if name in PROPERTIES:
            clauses.append(store.HAS_PROPERTY)
            args += [PROPERTIES[name], value.rpartition("/")[2] if name == "server" else value]
        elif name in NUMBERS:
            conditions.append(Condition(column=NUMBERS[name], value=fields.query_integer(request, name)))
        elif name == "name":
            conditions.append(Condition(column="name", value=value))
        elif name == "status":
            wanted = [status for status, (word, _) in STATUS.items() if word == value.upper()]
            conditions.append(Condition(column="status", operator="in", value=wanted))
        elif name == "changes-since":
            conditions.append(Condition(column="updated_at", operator="gte", value=fields.parse_time(value, name)))
    order = [("created_at", "desc")]
    listing = Listing(conditions=conditions, where=" AND ".join(clauses), args=args, sort=order, marker=marker, limit=limit)
    found = await list_rows(request.cloud.db, store.IMAGES, listing) if limit else []
    answer: dict[str, Any] = {"images": [view(request, image) for image in found]}
    if found and len(found) == limit:
        answer["images_links"] = fields.next_link(request, path, found[-1].id)
    return answer


def _brief(request: Request, image: Image) -> dict[str, Any]:
    alternate = {"rel": "alternate", "type": "application/vnd.openstack.image", "href": f"{request.base_url}/image/images/{image.id}"}
    return {"id": image.id, "name": image.name, "links": [*fields.links(request, "images", image.id), alternate]}


def _view(request: Request, image: Image) -> dict[str, Any]:
    status, progress = STATUS.get(image.status, ("UNKNOWN", 0))
    server = image.properties.get("instance_uuid")
    return {
        **_brief(request, image),
        "status": status,
        "progress": progress,
        "created": fields.iso(image.created_at),
        "updated": fields.iso(image.updated_at),
        "minDisk": image.min_disk,
        "minRam": image.min_ram,
        "metadata": image.properties,
        "OS-EXT-IMG-SIZE:size": image.size,
        **({"server": {"id": server, "links": fields.links(request, "servers", server)}} if server else {}),
    }
