"""Federation: identity providers with their protocols, mappings, service providers."""

from pileus.model.federation import IdentityProvider, Mapping, OpenIdSettings, Protocol, ServiceProvider
from pileus.store.database import Reader, Transaction
from pileus.store.federated_users import forget_provider
from pileus.store.tables import ResourceTable

IDENTITY_PROVIDERS = ResourceTable("identity_providers", IdentityProvider)
PROTOCOLS = ResourceTable("federation_protocols", Protocol)
MAPPINGS = ResourceTable("federation_mappings", Mapping)
OPENID_SETTINGS = ResourceTable("openid_settings", OpenIdSettings)
SERVICE_PROVIDERS = ResourceTable("service_providers", ServiceProvider)


def protocol_key(idp_id: str, name: str) -> str:
    """The key of a protocol of an identity provider."""
    return f"{idp_id}/{name}"


async def known_remote_ids(db: Reader, other_than: str) -> set[str]:
    """The remote ids of all identity providers but one."""
    return {one for idp in await IDENTITY_PROVIDERS.find(db, "id <> ?", other_than) for one in idp.remote_ids}


async def delete_identity_provider(tx: Transaction, idp_id: str) -> None:
    """Remove an identity provider with its protocols; its users stay, and nobody is them any more."""
    for one in await PROTOCOLS.find(tx, "idp_id = ?", idp_id):
        await delete_protocol(tx, one)
    await forget_provider(tx, idp_id)
    await IDENTITY_PROVIDERS.delete(tx, idp_id)


async def delete_protocol(tx: Transaction, one: Protocol) -> None:
    """Remove a protocol with how its provider is asked."""
    await forget_provider(tx, one.idp_id, one.name)
    await OPENID_SETTINGS.delete(tx, one.id)
    await PROTOCOLS.delete(tx, one.id)


async def delete_identity_providers_of(tx: Transaction, domain_id: str) -> None:
    """Remove the identity providers whose users are in a domain."""
    for row in await tx.all("SELECT id FROM identity_providers WHERE domain_id = ?", domain_id):
        await delete_identity_provider(tx, row[0])


async def enabled_service_providers(db: Reader) -> list[ServiceProvider]:
    """Where users of this cloud may go."""
    return await SERVICE_PROVIDERS.find(db, "enabled = 1 ORDER BY id")
