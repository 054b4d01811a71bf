"""Service providers: other clouds to which users of this one may go; tokens list those that are enabled."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.documents import Document, boolean, changes, collection, duplicate, found, fresh, self_link, write
from pileus.api.identity.identity_providers import check_id
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.federation import ServiceProvider
from pileus.store.database import Reader, Transaction
from pileus.store.federation import SERVICE_PROVIDERS

Url = Annotated[str, Meta(max_length=225, pattern=r"^[a-zA-Z0-9+.-]+:.+")]
PREFIX = "ss:mem:"
"""The beginning of a RelayState where nothing else is said."""


class NewProvider(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes of a new service provider."""

    auth_url: Url
    sp_url: Url
    enabled: bool = False
    description: str | None = None
    relay_state_prefix: str | None = PREFIX


class CreateProvider(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /v3/OS-FEDERATION/service_providers/{id}."""

    service_provider: NewProvider


class ProviderChanges(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change."""

    auth_url: Url | UnsetType = UNSET
    sp_url: Url | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    relay_state_prefix: str | UnsetType | None = UNSET


class UpdateProvider(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH /v3/OS-FEDERATION/service_providers/{id}."""

    service_provider: ProviderChanges


def _document(request: Request, one: ServiceProvider) -> Document:
    return {
        "id": one.id,
        "auth_url": one.auth_url,
        "sp_url": one.sp_url,
        "enabled": one.enabled,
        "description": one.description,
        "relay_state_prefix": one.relay_state_prefix,
        "links": self_link(request, "OS-FEDERATION", "service_providers", one.id),
    }


async def _find(request: Request, db: Reader) -> ServiceProvider:
    key = request.params["service_provider_id"]
    return found(await SERVICE_PROVIDERS.get(db, key), "service provider", key)


async def list_providers(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/service_providers."""
    rows = await SERVICE_PROVIDERS.find(request.cloud.db, "1 = 1 ORDER BY id")
    if "id" in request.query:
        rows = [row for row in rows if row.id == request.query["id"]]
    if "enabled" in request.query:
        rows = [row for row in rows if row.enabled == boolean(request.query["enabled"])]
    return collection(request, "service_providers", [_document(request, row) for row in rows])


async def show_provider(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/service_providers/{service_provider_id}."""
    return {"service_provider": _document(request, await _find(request, request.cloud.db))}


async def create_provider(request: Request) -> Document:
    """PUT /v3/OS-FEDERATION/service_providers/{service_provider_id}."""
    key = request.params["service_provider_id"]
    check_id(key)
    one = ServiceProvider(**fresh(key), **changes(request.body.service_provider))

    async def work(tx: Transaction) -> ServiceProvider:
        if await SERVICE_PROVIDERS.get(tx, key) is not None:
            raise duplicate("service_provider", key)
        return await SERVICE_PROVIDERS.insert(tx, one)

    return {"service_provider": _document(request, await write(request, work))}


async def update_provider(request: Request) -> Document:
    """PATCH /v3/OS-FEDERATION/service_providers/{service_provider_id}."""
    sent = changes(request.body.service_provider)

    async def work(tx: Transaction) -> ServiceProvider:
        return await SERVICE_PROVIDERS.update(tx, await _find(request, tx), **sent)

    return {"service_provider": _document(request, await write(request, work))}


async def remove_provider(request: Request) -> None:
    """DELETE /v3/OS-FEDERATION/service_providers/{service_provider_id}."""

    async def work(tx: Transaction) -> None:
        await SERVICE_PROVIDERS.delete(tx, (await _find(request, tx)).id)

    await write(request, work)
