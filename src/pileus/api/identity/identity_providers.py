"""Identity providers, whose users may be users here, and the protocols by which they are asked."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.documents import Document, boolean, changes, collection, duplicate, found, fresh, new_id, self_link, write
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid
from pileus.model.federation import IdentityProvider, Protocol
from pileus.model.projects import Project
from pileus.store.database import Reader, Transaction
from pileus.store.domains import get_domain
from pileus.store.federation import (
    IDENTITY_PROVIDERS,
    MAPPINGS,
    PROTOCOLS,
    delete_identity_provider,
    delete_protocol,
    known_remote_ids,
    protocol_key,
)
from pileus.store.projects import PROJECTS
from pileus.store.revocations import revoke

RemoteId = Annotated[str, Meta(max_length=64)]
Minutes = Annotated[int, Meta(ge=0, le=0x7FFFFFFF)]
Name64 = Annotated[str, Meta(min_length=1, max_length=64)]
PLACE = ("OS-FEDERATION", "identity_providers")


class NewProvider(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes of a new identity provider; without a domain it gets one of its own."""

    domain_id: str | None = None
    enabled: bool = False
    description: str | None = None
    authorization_ttl: Minutes | None = None
    remote_ids: list[RemoteId] | None = None


class CreateProvider(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /v3/OS-FEDERATION/identity_providers/{id}."""

    identity_provider: NewProvider = NewProvider()


class ProviderChanges(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change."""

    enabled: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    authorization_ttl: Minutes | UnsetType | None = UNSET
    remote_ids: list[RemoteId] | UnsetType | None = UNSET


class UpdateProvider(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH /v3/OS-FEDERATION/identity_providers/{id}."""

    identity_provider: ProviderChanges


class NewProtocol(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes of a new protocol."""

    mapping_id: Name64
    remote_id_attribute: RemoteId | None = None


class CreateProtocol(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /v3/OS-FEDERATION/identity_providers/{id}/protocols/{id}."""

    protocol: NewProtocol


class ProtocolChanges(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change."""

    mapping_id: Name64
    remote_id_attribute: RemoteId | UnsetType = UNSET


class UpdateProtocol(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH /v3/OS-FEDERATION/identity_providers/{id}/protocols/{id}."""

    protocol: ProtocolChanges


def _document(request: Request, one: IdentityProvider) -> Document:
    links = self_link(request, *PLACE, one.id)
    return {
        "id": one.id,
        "domain_id": one.domain_id,
        "enabled": one.enabled,
        "description": one.description,
        "authorization_ttl": one.authorization_ttl,
        "remote_ids": sorted(one.remote_ids),
        "links": {**links, "protocols": f"{links['self']}/protocols"},
    }


async def find_provider(request: Request, db: Reader) -> IdentityProvider:
    """The path's identity provider."""
    key = request.params["idp_id"]
    return found(await IDENTITY_PROVIDERS.get(db, key), "identity provider", key)


async def list_providers(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/identity_providers."""
    rows = await IDENTITY_PROVIDERS.find(request.cloud.db, "1 = 1 ORDER BY id")
    if "id" in request.query:
        rows = [row for row in rows if row.id == request.query["id"]]
    if "enabled" in request.query:
        rows = [row for row in rows if row.enabled == boolean(request.query["enabled"])]
    return collection(request, "identity_providers", [_document(request, row) for row in rows])


async def show_provider(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/identity_providers/{idp_id}."""
    return {"identity_provider": _document(request, await find_provider(request, request.cloud.db))}


async def create_provider(request: Request) -> Document:
    """PUT /v3/OS-FEDERATION/identity_providers/{idp_id}."""
    key = request.params["idp_id"]
    check_id(key)
    body: NewProvider = request.body.identity_provider
    sent = {**changes(body), "remote_ids": _unique(body.remote_ids)}

    async def work(tx: Transaction) -> IdentityProvider:
        if await IDENTITY_PROVIDERS.get(tx, key) is not None:
            raise duplicate("identity_provider", key)
        await _demand_free(tx, key, sent["remote_ids"])
        domain_id = body.domain_id or await _own_domain(tx, key)
        found(await get_domain(tx, domain_id), "domain", domain_id)
        return await IDENTITY_PROVIDERS.insert(tx, IdentityProvider(**fresh(key), **{**sent, "domain_id": domain_id}))

    return {"identity_provider": _document(request, await write(request, work))}


def check_id(key: str) -> None:
    """Invalid for an id that the caller has chosen, and that is too long."""
    if len(key) > 64:
        raise Invalid("An id has at most 64 characters.", field="id")


def _unique(remote_ids: list[str] | None) -> list[str]:
    ids = remote_ids or []
    if len(set(ids)) < len(ids):
        raise Invalid("Invalid input: remote_ids names one of them twice.", field="remote_ids")
    return ids


async def _demand_free(tx: Transaction, key: str, remote_ids: list[str]) -> None:
    if taken := await known_remote_ids(tx, key) & set(remote_ids):
        raise Conflict(f"Conflict occurred attempting to store identity_provider - Duplicate remote ID: {', '.join(sorted(taken))}.")


async def _own_domain(tx: Transaction, key: str) -> str:
    name = new_id()
    words = f"The users of the identity provider {key}."
    await PROJECTS.insert(tx, Project(**fresh(name), name=name, is_domain=True, description=words))
    return name


async def update_provider(request: Request) -> Document:
    """PATCH /v3/OS-FEDERATION/identity_providers/{idp_id}."""
    sent: dict[str, Any] = changes(request.body.identity_provider)
    if "remote_ids" in sent:
        sent["remote_ids"] = _unique(sent["remote_ids"])

    async def work(tx: Transaction) -> IdentityProvider:
        one = await find_provider(request, tx)
        await _demand_free(tx, one.id, sent.get("remote_ids", []))
        if sent.get("enabled") is False:
            await revoke(tx, f"idp:{one.id}")
        return await IDENTITY_PROVIDERS.update(tx, one, **sent)

    return {"identity_provider": _document(request, await write(request, work))}


async def remove_provider(request: Request) -> None:
    """DELETE /v3/OS-FEDERATION/identity_providers/{idp_id}, with its protocols; its domain stays."""

    async def work(tx: Transaction) -> None:
        await delete_identity_provider(tx, (await find_provider(request, tx)).id)

    await write(request, work)


def _protocol(request: Request, one: Protocol, *, whole: bool = False) -> Document:
    """A protocol; lists show `whole` ones."""
    home = self_link(request, *PLACE, one.idp_id)["self"]
    more = {"idp_id": one.idp_id, "remote_id_attribute": one.remote_id_attribute} if whole else {}
    return {
        "id": one.name,
        "mapping_id": one.mapping_id,
        **more,
        "links": {"self": f"{home}/protocols/{one.name}", "identity_provider": home},
    }


async def find_protocol(request: Request, db: Reader) -> Protocol:
    """The path's protocol."""
    name = request.params["protocol_id"]
    return found(await PROTOCOLS.get(db, protocol_key(request.params["idp_id"], name)), "federated protocol", name)


async def list_protocols(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols."""
    idp = await find_provider(request, request.cloud.db)
    rows = await PROTOCOLS.find(request.cloud.db, "idp_id = ? ORDER BY name", idp.id)
    return collection(request, "protocols", [_protocol(request, row, whole=True) for row in rows])


async def show_protocol(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}."""
    return {"protocol": _protocol(request, await find_protocol(request, request.cloud.db))}


async def create_protocol(request: Request) -> Document:
    """PUT /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}."""
    name = request.params["protocol_id"]
    check_id(name)
    body: NewProtocol = request.body.protocol

    async def work(tx: Transaction) -> Protocol:
        idp = await find_provider(request, tx)
        key = protocol_key(idp.id, name)
        if await PROTOCOLS.get(tx, key) is not None:
            raise duplicate("federation_protocol", name)
        await _demand_mapping(tx, body.mapping_id)
        return await PROTOCOLS.insert(tx, Protocol(**fresh(key), idp_id=idp.id, name=name, **changes(body)))

    return {"protocol": _protocol(request, await write(request, work))}


async def _demand_mapping(tx: Transaction, mapping_id: str) -> None:
    if await MAPPINGS.get(tx, mapping_id) is None:
        raise Invalid(f"Invalid mapping id: {mapping_id}", field="mapping_id")


async def update_protocol(request: Request) -> Document:
    """PATCH /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}."""
    sent = changes(request.body.protocol)

    async def work(tx: Transaction) -> Protocol:
        one = await find_protocol(request, tx)
        await _demand_mapping(tx, sent["mapping_id"])
        return await PROTOCOLS.update(tx, one, **sent)

    return {"protocol": _protocol(request, await write(request, work))}


async def remove_protocol(request: Request) -> None:
    """DELETE /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}."""

    async def work(tx: Transaction) -> None:
        await delete_protocol(tx, await find_protocol(request, tx))

    await write(request, work)
