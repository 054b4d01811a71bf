"""Host aggregates."""

import uuid
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus import clock
from pileus.api.compute import fields
from pileus.api.request import Request
from pileus.model.aggregates import Aggregate
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.store import aggregates
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS

Value = Annotated[str, Meta(max_length=255)]


class NewAggregate(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name and perhaps an availability zone."""

    name: fields.Name
    availability_zone: fields.ZoneName | None = None


class CreateAggregate(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /os-aggregates."""

    aggregate: NewAggregate


class AggregateChanges(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is unset stays as it is."""

    name: fields.Name | msgspec.UnsetType = msgspec.UNSET
    availability_zone: fields.ZoneName | msgspec.UnsetType | None = msgspec.UNSET


class UpdateAggregate(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /os-aggregates/{aggregate_id}."""

    aggregate: AggregateChanges


class HostOf(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host, by name."""

    host: fields.HostName


class AddHost(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action add_host."""

    wanted: HostOf = msgspec.field(name="add_host")


class RemoveHost(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action remove_host."""

    wanted: HostOf = msgspec.field(name="remove_host")


class Items(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Items to set; null removes one."""

    metadata: dict[fields.MetadataKey, Value | None]


class SetMetadata(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action set_metadata."""

    items: Items = msgspec.field(name="set_metadata")


async def index(request: Request) -> dict[str, Any]:
    """GET /os-aggregates."""
    fields.check_queries(request, {}, (2, 102))
    return {"aggregates": [view(one) for one in await aggregates.every(request.cloud.db)]}


async def show(request: Request) -> dict[str, Any]:
    """GET /os-aggregates/{aggregate_id}."""
    fields.check_queries(request, {}, (2, 102))
    return {"aggregate": view(await aggregates.get(request.cloud.db, _number(request)))}


async def create(request: Request) -> dict[str, Any]:
    """POST /os-aggregates."""
    new: NewAggregate = request.body.aggregate
    now = clock.now()

    async def work(tx: Transaction) -> Aggregate:
        record = Aggregate(
            id=str(uuid.uuid4()),
            created_at=now,
            updated_at=now,
            number=await aggregates.next_number(tx),
            name=new.name,
            availability_zone=new.availability_zone,
            metadata={"availability_zone": new.availability_zone} if new.availability_zone else {},
        )
        return await aggregates.create(tx, record)

    shown = view(await request.cloud.db.write(work))
    return {"aggregate": {name: value for name, value in shown.items() if name not in ("hosts", "metadata")}}


async def update(request: Request) -> dict[str, Any]:
    """PUT /os-aggregates/{aggregate_id}."""
    wanted: AggregateChanges = request.body.aggregate
    changes: dict[str, Any] = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not msgspec.UNSET}
    if not changes:
        raise Invalid("Invalid input for field/attribute aggregate. A name or an availability_zone is required.")
    return await _change(request, lambda one: changes | _zone_item(one, changes))


async def delete(request: Request) -> None:
    """DELETE /os-aggregates/{aggregate_id}."""

    async def work(tx: Transaction) -> None:
        await aggregates.remove(tx, await aggregates.get(tx, _number(request)))

    await request.cloud.db.write(work)


async def add_host(request: Request) -> dict[str, Any]:
    """The action add_host: a host is in one availability zone at most."""
    name = request.body.wanted.host

    async def work(tx: Transaction) -> Aggregate:
        one = await aggregates.get(tx, _number(request))
        if await HOSTS.first(tx, "name = ?", name) is None:
            raise NotFound(f"Compute host {name} could not be found.")
        if name in one.hosts:
            raise Conflict(f"Aggregate {one.number} already has host {name}.")
        zone = await aggregates.zone_of(tx, name)
        if one.availability_zone and zone not in (aggregates.DEFAULT_ZONE, one.availability_zone):
            raise Conflict(f"Cannot add host {name} to aggregate {one.number}: it is in the availability zone {zone}.")
        return await aggregates.change(tx, one, hosts=[*one.hosts, name])

    return {"aggregate": view(await request.cloud.db.write(work))}


async def remove_host(request: Request) -> dict[str, Any]:
    """The action remove_host."""
    name = request.body.wanted.host

    def without(one: Aggregate) -> dict[str, Any]:
        if name not in one.hosts:
            raise NotFound(f"Aggregate {one.number} has no host {name}.")
        return {"hosts": [host for host in one.hosts if host != name]}

    return await _change(request, without)


async def set_metadata(request: Request) -> dict[str, Any]:
    """The action set_metadata; the item availability_zone is the aggregate's zone."""
    items: dict[str, str | None] = request.body.items.metadata

    def changed(one: Aggregate) -> dict[str, Any]:
        merged = {**one.metadata, **items}
        changes: dict[str, Any] = {"metadata": {name: value for name, value in merged.items() if value is not None}}
        if "availability_zone" in items:
            changes["availability_zone"] = items["availability_zone"]
        return changes

    return await _change(request, changed)


def view(one: Aggregate) -> dict[str, Any]:
    """An aggregate in the newest version's form."""
    return {
        "id": one.number,
        "uuid": one.id,
        "name": one.name,
        "availability_zone": one.availability_zone,
        "hosts": one.hosts,
        "metadata": one.metadata,
        "created_at": fields.iso_micro(one.created_at),
        "updated_at": fields.iso_micro(one.updated_at) if one.generation else None,
        "deleted": False,
        "deleted_at": None,
    }


def _zone_item(one: Aggregate, changes: dict[str, Any]) -> dict[str, Any]:
    if "availability_zone" not in changes:
        return {}
    rest = {name: value for name, value in one.metadata.items() if name != "availability_zone"}
    zone = changes["availability_zone"]
    return {"metadata": rest | ({"availability_zone": zone} if zone else {})}


async def _change(request: Request, changes: Any) -> dict[str, Any]:
    async def work(tx: Transaction) -> Aggregate:
        one = await aggregates.get(tx, _number(request))
        return await aggregates.change(tx, one, **changes(one))

    return {"aggregate": view(await request.cloud.db.write(work))}


def _number(request: Request) -> int:
    text = request.params["aggregate_id"]
    if not (text.isascii() and text.isdigit()):
        raise NotFound(f"Aggregate {text} could not be found.")
    return int(text)
