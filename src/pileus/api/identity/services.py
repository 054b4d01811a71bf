"""Services of the catalog: ours, which are fixed, and the operator's."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.catalog import all_services
from pileus.api.identity.documents import Document, changes, collection, extras, found, fresh, merged, self_link, write
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.catalog import CatalogService
from pileus.model.errors import Forbidden
from pileus.store.catalog import SERVICES, delete_service
from pileus.store.database import Reader, Transaction

KNOWN = ("type", "name", "description", "enabled")
Text = Annotated[str, Meta(min_length=1, max_length=255)]


class NewService(Model, frozen=True, kw_only=True):
    """Attributes of a new service."""

    type: Text
    name: str | None = None
    description: str | None = None
    enabled: bool = True


class CreateService(Model, frozen=True, kw_only=True):
    """POST /v3/services."""

    service: NewService


class ServiceChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    type: Text | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class UpdateService(Model, frozen=True, kw_only=True):
    """PATCH /v3/services/{id}."""

    service: ServiceChanges


def _service(request: Request, service: CatalogService) -> Document:
    return {
        **service.extra,
        "id": service.id,
        "type": service.type,
        "name": service.name,
        "description": service.description,
        "enabled": service.enabled,
        "links": self_link(request, "services", service.id),
    }


async def list_services(request: Request) -> Document:
    """GET /v3/services."""
    rows = await all_services(request, request.cloud.db)
    for name in ("type", "name"):
        if name in request.query:
            rows = [row for row in rows if getattr(row, name) == request.query[name]]
    return collection(request, "services", [_service(request, row) for row in rows])


async def show_service(request: Request) -> Document:
    """GET /v3/services/{service_id}."""
    key = request.params["service_id"]
    service = next((one for one in await all_services(request, request.cloud.db) if one.id == key), None)
    return {"service": _service(request, found(service, "service", key))}


async def create_service(request: Request) -> Document:
    """POST /v3/services."""
    body: NewService = request.body.service
    service = CatalogService(
        **fresh(),
        type=body.type,
        name=body.name or "",
        description=body.description or "",
        enabled=body.enabled,
        extra=extras(request, "service", KNOWN),
    )
    await write(request, lambda tx: SERVICES.insert(tx, service))
    return {"service": _service(request, service)}


async def _operators_service(request: Request, db: Reader) -> CatalogService:
    key = request.params["service_id"]
    service = await SERVICES.get(db, key)
    if service is None and any(one.id == key for one in await all_services(request, db)):
        raise Forbidden(f"The service {key} is served by this cloud itself; it can't be changed or deleted here.")
    return found(service, "service", key)


async def update_service(request: Request) -> Document:
    """PATCH /v3/services/{service_id}."""
    sent = {name: ("" if value is None else value) for name, value in changes(request.body.service).items()}

    async def work(tx: Transaction) -> CatalogService:
        service = await _operators_service(request, tx)
        return await SERVICES.update(tx, service, **sent, extra=merged(service.extra, extras(request, "service", KNOWN)))

    return {"service": _service(request, await write(request, work))}


async def remove_service(request: Request) -> None:
    """DELETE /v3/services/{service_id}, with its endpoints."""

    async def work(tx: Transaction) -> None:
        service = await _operators_service(request, tx)
        await delete_service(tx, service.id)

    await write(request, work)
