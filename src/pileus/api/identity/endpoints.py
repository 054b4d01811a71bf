"""Endpoints of the catalog: ours, which follow the address that the client used, and the operator's."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.catalog import all_endpoints, all_services
from pileus.api.identity.documents import Document, changes, collection, extras, found, fresh, merged, self_link, write
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.catalog import Endpoint, Interface, Region
from pileus.model.errors import Forbidden, Invalid
from pileus.store.catalog import ENDPOINTS, REGIONS, delete_endpoint
from pileus.store.database import Reader, Transaction

KNOWN = ("service_id", "interface", "url", "region_id", "region", "enabled")
Url = Annotated[str, Meta(min_length=1, max_length=4096)]


class NewEndpoint(Model, frozen=True, kw_only=True):
    """Attributes of a new endpoint; `region` is the older word for `region_id`."""

    service_id: str
    interface: Interface
    url: Url
    region_id: str | None = None
    region: str | None = None
    enabled: bool = True


class CreateEndpoint(Model, frozen=True, kw_only=True):
    """POST /v3/endpoints."""

    endpoint: NewEndpoint


class EndpointChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    service_id: str | UnsetType = UNSET
    interface: Interface | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    region_id: str | UnsetType | None = UNSET
    region: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class UpdateEndpoint(Model, frozen=True, kw_only=True):
    """PATCH /v3/endpoints/{id}."""

    endpoint: EndpointChanges


def endpoint_document(request: Request, endpoint: Endpoint) -> Document:
    """An endpoint as Keystone shows it."""
    return {
        **endpoint.extra,
        "id": endpoint.id,
        "service_id": endpoint.service_id,
        "interface": endpoint.interface,
        "url": endpoint.url,
        "region_id": endpoint.region_id,
        "region": endpoint.region_id,
        "enabled": endpoint.enabled,
        "links": self_link(request, "endpoints", endpoint.id),
    }


async def list_endpoints(request: Request) -> Document:
    """GET /v3/endpoints."""
    rows = await all_endpoints(request, request.cloud.db)
    for name in ("service_id", "interface", "region_id"):
        if name in request.query:
            rows = [row for row in rows if getattr(row, name) == request.query[name]]
    return collection(request, "endpoints", [endpoint_document(request, row) for row in rows])


async def show_endpoint(request: Request) -> Document:
    """GET /v3/endpoints/{endpoint_id}."""
    key = request.params["endpoint_id"]
    endpoint = next((one for one in await all_endpoints(request, request.cloud.db) if one.id == key), None)
    return {"endpoint": endpoint_document(request, found(endpoint, "endpoint", key))}


async def _check_endpoint(request: Request, tx: Transaction, service_id: str | None, region_id: str | None) -> None:
    """Its service must be there; its region is made when it is not, as Keystone does."""
    if service_id is not None and not any(one.id == service_id for one in await all_services(request, tx)):
        raise Invalid(f"Could not find service: {service_id}.", field="service_id")
    if region_id and await REGIONS.get(tx, region_id) is None:
        await REGIONS.insert(tx, Region(**fresh(region_id)))


async def create_endpoint(request: Request) -> Document:
    """POST /v3/endpoints."""
    body: NewEndpoint = request.body.endpoint
    endpoint = Endpoint(
        **fresh(),
        service_id=body.service_id,
        interface=body.interface,
        url=body.url,
        region_id=body.region_id or body.region,
        enabled=body.enabled,
        extra=extras(request, "endpoint", KNOWN),
    )

    async def work(tx: Transaction) -> Endpoint:
        await _check_endpoint(request, tx, endpoint.service_id, endpoint.region_id)
        return await ENDPOINTS.insert(tx, endpoint)

    return {"endpoint": endpoint_document(request, await write(request, work))}


async def _operators_endpoint(request: Request, db: Reader) -> Endpoint:
    key = request.params["endpoint_id"]
    endpoint = await ENDPOINTS.get(db, key)
    if endpoint is None and any(one.id == key for one in await all_endpoints(request, db)):
        raise Forbidden(f"The endpoint {key} is this cloud's own and follows its address; it can't be changed or deleted here.")
    return found(endpoint, "endpoint", key)


async def update_endpoint(request: Request) -> Document:
    """PATCH /v3/endpoints/{endpoint_id}."""
    sent = changes(request.body.endpoint)
    if "region" in sent:
        sent["region_id"] = sent.get("region_id") or sent.pop("region")
        sent.pop("region", None)

    async def work(tx: Transaction) -> Endpoint:
        endpoint = await _operators_endpoint(request, tx)
        await _check_endpoint(request, tx, sent.get("service_id"), sent.get("region_id"))
        return await ENDPOINTS.update(tx, endpoint, **sent, extra=merged(endpoint.extra, extras(request, "endpoint", KNOWN)))

    return {"endpoint": endpoint_document(request, await write(request, work))}


async def remove_endpoint(request: Request) -> None:
    """DELETE /v3/endpoints/{endpoint_id}."""

    async def work(tx: Transaction) -> None:
        await delete_endpoint(tx, (await _operators_endpoint(request, tx)).id)

    await write(request, work)
