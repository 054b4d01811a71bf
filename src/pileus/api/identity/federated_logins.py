"""Logins of who is known elsewhere: what the identity provider says becomes a user here, with groups, projects and roles, by a mapping."""

import logging
from typing import Any

from pileus import clock
from pileus.api.identity import password_rules
from pileus.api.identity.documents import fresh, write
from pileus.api.identity.login_bodies import MappedMethod, Named, NamedIn
from pileus.api.identity.logins import Login, by_token, find_user
from pileus.api.identity.openid_provider import Provider, claims_of
from pileus.api.identity.shadow_projects import domain_id_of, give_projects
from pileus.api.identity.tokens import INVALID
from pileus.api.request import Request
from pileus.core.mapping_engine import Assertion, Mapped, evaluate, unique_id
from pileus.core.openid import assertion_of
from pileus.model.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from pileus.model.federation import FederatedUser, IdentityProvider, Protocol
from pileus.model.identity import FederatedLogin
from pileus.model.users import User
from pileus.store.database import Reader, Transaction
from pileus.store.domain_options import driver_of
from pileus.store.federated_users import federated_as, free_name, link, set_memberships, user_of
from pileus.store.federation import IDENTITY_PROVIDERS, MAPPINGS, OPENID_SETTINGS, PROTOCOLS, protocol_key
from pileus.store.groups import GROUPS
from pileus.store.revocations import revoke
from pileus.store.sealing import seal_of
from pileus.store.users import USERS

log = logging.getLogger("pileus.identity")
MINUTE = 60.0
LONGEST_ID, LONGEST_NAME = 1024, 200
"""Characters of what an identity provider may call a user; a name may become longer, where another has it."""


async def by_mapped(request: Request, given: MappedMethod) -> Login:
    """By a federated token, or by what the header Authorization holds."""
    if given.id is not None:
        login = await by_token(request, given.id)
        if login.federation is None:
            raise Unauthorized(INVALID)
        return login
    if given.identity_provider is None or given.protocol is None:
        raise Invalid("Expecting to find identity_provider and protocol in mapped.", field="identity_provider")
    return await by_bearer(request, given.identity_provider, given.protocol)


async def by_bearer(request: Request, idp_id: str, protocol_id: str) -> Login:
    """By a token of the provider's in the header Authorization."""
    idp, protocol = await find_way(request.cloud.db, idp_id, protocol_id)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("The identity provider's access token is missing: it goes into the header Authorization, after the word Bearer.")
    provider, secret = await provider_of(request, protocol)
    claims = await claims_of(provider, token.strip(), secret)
    return await log_in_as(request, idp, protocol, claims)


async def demand_provider(db: Reader, idp_id: str) -> IdentityProvider:
    """The identity provider; NotFound without it, Forbidden while it is disabled."""
    idp = await IDENTITY_PROVIDERS.get(db, idp_id)
    if idp is None:
        raise NotFound(f"Could not find identity provider: {idp_id}.")
    if not idp.enabled:
        raise Forbidden(f"The identity provider {idp_id} is disabled.")
    return idp


async def find_way(db: Reader, idp_id: str, protocol_id: str) -> tuple[IdentityProvider, Protocol]:
    """An identity provider that is enabled, and a protocol of it."""
    idp = await demand_provider(db, idp_id)
    protocol = await PROTOCOLS.get(db, protocol_key(idp_id, protocol_id))
    if protocol is None:
        raise NotFound(f"Could not find federated protocol: {protocol_id}.")
    return idp, protocol


async def provider_of(request: Request, protocol: Protocol) -> tuple[Provider, str | None]:
    """How the protocol's provider is asked, and the secret for it."""
    settings = await OPENID_SETTINGS.get(request.cloud.db, protocol.id)
    if settings is None:
        raise Unauthorized(
            f"Nobody can log in by {protocol.id}: its provider of OpenID Connect is not set. An administrator does so by "
            f"PUT /v3/OS-FEDERATION/identity_providers/{protocol.idp_id}/protocols/{protocol.name}/openid."
        )
    sealed = settings.sealed_secret
    secret = seal_of(request.cloud.config.directory).open(sealed) if sealed is not None else None
    return request.cloud.providers.of(settings), secret


async def log_in_as(request: Request, idp: IdentityProvider, protocol: Protocol, claims: dict[str, Any]) -> Login:
    """Whom the provider's words describe. What it says counts already; what it means here, the mapping says."""
    assertion = assertion_of(claims)
    _demand_own(idp, protocol, assertion)
    mapping = await MAPPINGS.get(request.cloud.db, protocol.mapping_id)
    if mapping is None:
        raise Unauthorized(f"The mapping {protocol.mapping_id} of {protocol.id} is gone.")
    try:
        mapped = evaluate(mapping.rules, mapping.schema_version, assertion)
        methods = sorted({"mapped", protocol.name})
        if mapped.user.type == "local":
            return Login(user=await _local(request, mapped), methods=["mapped"], latest=float("inf"))
        remote_user = next(iter(assertion.get("REMOTE_USER", [])), None)
        key, name = unique_id(mapped.user, remote_user)
        if len(key) > LONGEST_ID or not name.strip() or len(name) > LONGEST_NAME:
            raise Unauthorized(f"A user's name has 1 to {LONGEST_NAME} characters, an id at most {LONGEST_ID}.")
        shadow = _Shadow(request, idp, protocol, mapped, mapping.schema_version)
        try:
            user, group_ids = await write(request, lambda tx: shadow.make(tx, key, name))
        except Conflict:  # the same user's first login, at another process
            user, group_ids = await write(request, lambda tx: shadow.make(tx, key, name))
    except Unauthorized as error:
        log.warning("a login by %s is refused: %s", protocol.id, error.message)
        raise
    federation = FederatedLogin(idp_id=idp.id, protocol_id=protocol.name, group_ids=tuple(group_ids))
    return Login(user=user, methods=methods, latest=float("inf"), federation=federation)


def _demand_own(idp: IdentityProvider, protocol: Protocol, assertion: Assertion) -> None:
    """Forbidden when the protocol names the attribute that says who speaks, and that is none of the identity provider's names."""
    if not protocol.remote_id_attribute or not idp.remote_ids:
        return
    said = assertion.get(protocol.remote_id_attribute)
    if said is None:
        raise Unauthorized(f"The identity provider does not say who it is: there is no {protocol.remote_id_attribute}.")
    if len(said) != 1 or said[0] not in idp.remote_ids:
        raise Forbidden("The identity provider that speaks is none of those that are accepted.")


async def _local(request: Request, mapped: Mapped) -> User:
    """A user who is here anyhow."""
    given = mapped.user
    domain = Named(id=given.domain.id, name=given.domain.name) if given.domain else None
    try:
        user = await find_user(request, NamedIn(id=given.id, name=given.name, domain=domain))
    except Invalid as error:
        raise Unauthorized(f"The mapping names no local user: {error.message}") from error
    if user is None:
        raise Unauthorized(INVALID)
    return user


class _Shadow:
    """Makes somebody a user here, or finds the one that was made; all in one transaction."""

    def __init__(self, request: Request, idp: IdentityProvider, protocol: Protocol, mapped: Mapped, version: str) -> None:
        self._request = request
        self._idp = idp
        self._protocol = protocol
        self._mapped = mapped
        self._version = version

    async def make(self, tx: Transaction, key: str, name: str) -> tuple[User, list[str]]:
        """The user, and the ids of the groups that are said now."""
        idp = self._idp
        domain_id = await domain_id_of(tx, self._mapped.user.domain, idp.domain_id)
        group_ids = await self._groups(tx)
        user = await user_of(tx, idp.id, self._protocol.name, key)
        known = user is not None
        if user is not None:
            if not password_rules.is_enabled(self._request, user):
                raise Unauthorized(INVALID)
            user = await self._renamed(tx, user, key, name)
        else:
            user = await self._new(tx, key, name, domain_id)
        minutes = idp.authorization_ttl
        if minutes is None:
            minutes = self._request.cloud.config.federation.default_authorization_ttl
        if await set_memberships(tx, user.id, idp.id, group_ids, clock.now() + minutes * MINUTE) and known:
            await revoke(tx, f"user:{user.id}")
        await give_projects(tx, user, self._mapped.projects, idp.domain_id, self._version)
        return user, group_ids

    async def _new(self, tx: Transaction, key: str, name: str, domain_id: str) -> User:
        if await driver_of(tx, domain_id) == "ldap":
            raise Unauthorized(
                f"The users of the domain {domain_id} are a directory's: the mapping must name another, or users of type local."
            )
        email = self._mapped.user.email
        user = User(
            **fresh(),
            name=await free_name(tx, name, domain_id, None, self._idp.id),
            domain_id=domain_id,
            extra={"email": email} if email else {},
        )
        await USERS.insert(tx, user)
        await link(tx, FederatedUser(idp_id=self._idp.id, protocol_id=self._protocol.name, unique_id=key, user_id=user.id, shadow=True))
        return user

    async def _renamed(self, tx: Transaction, user: User, key: str, name: str) -> User:
        """What the identity provider calls its user now. A user that was made by an administrator keeps its name."""
        changed: dict[str, Any] = {}
        ours = next(one for one in (await federated_as(tx, [user.id]))[user.id] if one.unique_id == key and one.idp_id == self._idp.id)
        if ours.shadow:
            free = await free_name(tx, name, user.domain_id, user.id, self._idp.id)
            changed = {"name": free} if free != user.name else {}
        email = self._mapped.user.email
        if email and user.extra.get("email") != email:
            changed["extra"] = {**user.extra, "email": email}
        return await USERS.update(tx, user, **changed) if changed else user

    async def _groups(self, tx: Transaction) -> list[str]:
        """The groups' ids. One that is named by its id must be there; of one that is named otherwise, nothing is said when it is not."""
        ids: list[str] = []
        for one in self._mapped.group_ids:
            if await GROUPS.get(tx, one) is None:
                raise Unauthorized(f"The mapping names a group that is not there: {one}.")
            ids.append(one)
        for one in self._mapped.groups:
            domain_id = await domain_id_of(tx, one.domain, "")
            group = await GROUPS.first(tx, "name = ? AND domain_id = ?", one.name, domain_id)
            ids += [group.id] if group else []
        return list(dict.fromkeys(ids))
