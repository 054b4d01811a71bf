"""The attribute `federated` of a user: who it is at identity providers. An administrator may say it before the first login."""

from typing import Annotated, Any

from msgspec import Meta

from pileus.api.identity import visibility as may
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.model.federation import FederatedUser
from pileus.store.database import Reader, Transaction
from pileus.store.federated_users import FEDERATED_USERS, federated_as, link, unlink
from pileus.store.federation import IDENTITY_PROVIDERS, PROTOCOLS, protocol_key
from pileus.store.listing import Condition
from pileus.store.revocations import revoke

FILTERS = ("idp_id", "protocol_id", "unique_id")


class FederatedName(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user is called by one protocol."""

    protocol_id: str
    unique_id: Annotated[str, Meta(min_length=1, max_length=1024)]


class FederatedObject(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who a user is at one identity provider."""

    idp_id: str
    protocols: Annotated[list[FederatedName], Meta(max_length=64)]


FederatedObjects = Annotated[list[FederatedObject], Meta(max_length=64)]


async def check_objects(request: Request, db: Reader, domain_id: str, objects: list[FederatedObject]) -> None:
    """Invalid for a provider or a protocol that is not there; Forbidden for another domain's provider.

    Whoever says that a user of his is somebody there would get what that somebody is given here.
    """
    for one in objects:
        idp = await IDENTITY_PROVIDERS.get(db, one.idp_id)
        if idp is None:
            raise Invalid(f"Could not find Identity Provider: {one.idp_id}", field="federated")
        may.demand(request.identity.is_admin or idp.domain_id == domain_id, "identity:create_user")
        for protocol in one.protocols:
            if await PROTOCOLS.get(db, protocol_key(one.idp_id, protocol.protocol_id)) is None:
                raise Invalid(
                    f"Could not find federated protocol {protocol.protocol_id} for Identity Provider: {one.idp_id}.", field="federated"
                )


async def link_objects(tx: Transaction, user_id: str, objects: list[FederatedObject]) -> None:
    """Say who a new user is. Call `check_objects` first."""
    for one in objects:
        for name in one.protocols:
            await link(tx, FederatedUser(idp_id=one.idp_id, protocol_id=name.protocol_id, unique_id=name.unique_id, user_id=user_id))


async def replace_objects(tx: Transaction, user_id: str, objects: list[FederatedObject]) -> None:
    """Say anew who a user is; tokens of who it was are void."""
    await unlink(tx, user_id)
    await revoke(tx, f"user:{user_id}")
    await link_objects(tx, user_id, objects)


async def shown(db: Reader, user_id: str) -> dict[str, Any]:
    """The attribute, when there is something to say."""
    providers: dict[str, list[dict[str, str]]] = {}
    for one in (await federated_as(db, [user_id])).get(user_id, []):
        providers.setdefault(one.idp_id, []).append({"protocol_id": one.protocol_id, "unique_id": one.unique_id})
    return {"federated": [{"idp_id": key, "protocols": names} for key, names in providers.items()]} if providers else {}


async def asked_for(request: Request) -> list[Condition]:
    """What a list of users is confined to by `idp_id`, `protocol_id` and `unique_id`."""
    wanted = [name for name in FILTERS if name in request.query]
    if not wanted:
        return []
    rows = await FEDERATED_USERS.find(
        request.cloud.db, " AND ".join(f"{name} = ?" for name in wanted), *(request.query[name] for name in wanted)
    )
    return [Condition(column="id", operator="in", value=sorted({one.user_id for one in rows}))]
