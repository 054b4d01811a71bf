"""Tokens: a compact, encrypted statement of who someone is, validated without the database."""

import base64
import secrets
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.fernet import InvalidToken

from pileus import clock
from pileus.api.identity.keys import KeyRing
from pileus.model.errors import Unauthorized
from pileus.model.identity import FederatedLogin, Identity
from pileus.model.projects import DEFAULT_DOMAIN
from pileus.store import revocations
from pileus.store.database import Database

METHODS = ("password", "token", "application_credential", "totp", "oauth1", "ec2credential", "mapped", "openid")
"""Each has its bit in a token: new ones are added at the end."""
REMEMBERED = 4096
LONGEST_LIFE = 28 * 86400.0
"""Seconds; less than revocations are kept."""
EXPIRED_WINDOW = 48 * 3600.0
"""Seconds for which an expired token can still be validated by who asks for that (Keystone's allow_expired_window)."""
INVALID = "The request you have made requires authentication."


class Payload(msgspec.Struct, array_like=True, frozen=True):
    """What stands in a token.

    Ids that are UUIDs are 16 bytes, others text (no union in msgspec holds both, hence Any); a domain that is the default one is None.
    """

    form: int
    user: Any
    user_domain: Any
    scope: str  # "": unscoped, p: project, d: domain, s: system
    scope_id: Any
    scope_domain: Any
    roles: list[str]
    methods: int
    audit: list[bytes]
    issued_at: float
    expires_at: float
    application_credential: Any
    access_rules: list[tuple[str, str, str]] | None = None
    trust: list[Any] | None = None  # its id, the other party's id
    access_token: Any = None
    federation: list[Any] | None = None  # identity provider, protocol, ids of groups


_decoder = msgspec.msgpack.Decoder(Payload)


class FernetTokens:
    """Issues and validates tokens. `keys` is a directory of its own; call `load` before the first validation."""

    def __init__(self, keys: Path, db: Database) -> None:
        self.ring = KeyRing(keys)
        self._db = db
        self._revoked: dict[str, float] = {}
        self._newest = 0.0
        self._known: dict[str, tuple[Identity, tuple[str, ...]]] = {}

    async def load(self) -> None:
        """Read what was revoked."""
        now = clock.now()
        await self._db.write(lambda tx: revocations.purge(tx, now))
        await self.refresh()

    async def refresh(self) -> None:
        """Read what was revoked since the last look (with a minute's overlap, for clocks of several processes)."""
        for key, moment in await revocations.since(self._db, self._newest - 60.0):
            self._revoked[key] = max(moment, self._revoked.get(key, 0.0))
            self._newest = max(self._newest, moment)

    def rotate(self) -> None:
        """Take the staged key into use; tokens of the primary key before it stay valid."""
        self.ring.rotate()

    def issue(self, identity: Identity) -> str:
        """The token's text. `issued_at` and `expires_at` must be set; an audit id is expected first in `audit_ids`."""
        payload = Payload(
            form=1,
            user=_pack(identity.user_id),
            user_domain=_domain(identity.user_domain_id),
            scope="p" if identity.project_id else "d" if identity.domain_id else "s" if identity.system else "",
            scope_id=_pack(identity.project_id or identity.domain_id or "") or None,
            scope_domain=_domain(identity.project_domain_id),
            roles=sorted(identity.roles),
            methods=sum(1 << METHODS.index(name) for name in set(identity.methods) & _known(identity)),
            audit=[base64.urlsafe_b64decode(f"{one}==") for one in identity.audit_ids],
            issued_at=identity.issued_at,
            expires_at=identity.expires_at,
            application_credential=_pack(identity.application_credential_id) if identity.application_credential_id else None,
            access_rules=None if identity.access_rules is None else list(identity.access_rules),
            access_token=_pack(identity.access_token_id) if identity.access_token_id else None,
            trust=[_pack(identity.trust_id), _pack(identity.trust_user_id or "")] if identity.trust_id else None,
            federation=_packed_federation(identity.federation),
        )
        return self.ring.encrypt(msgspec.msgpack.encode(payload)).rstrip(b"=").decode()

    def validate(self, text: str) -> Identity:
        """Who that is (without names); Unauthorized when it is not a token of ours, has expired or was revoked."""
        return self.inspect(text, 0.0)

    def inspect(self, text: str, grace: float = EXPIRED_WINDOW) -> Identity:
        """As `validate`, for tokens that have expired up to `grace` seconds ago."""
        known = self._known.get(text)
        if known is None:
            identity = self._decrypt(text)
            known = (identity, revocations.keys_of(identity))
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[text] = known
        identity, keys = known
        if clock.now() >= identity.expires_at + grace:
            raise Unauthorized(INVALID)
        if self.revoked(keys, identity.issued_at):
            raise Unauthorized(INVALID)
        return identity

    def revoked(self, keys: Iterable[str], issued_at: float) -> bool:
        """Whether what one of the keys stands for was voided since then."""
        return any(self._revoked.get(key, 0.0) >= issued_at for key in keys)

    def _decrypt(self, text: str) -> Identity:
        try:
            raw = self.ring.decrypt(text.encode("ascii") + b"=" * (-len(text) % 4))
            payload = _decoder.decode(raw)
        except (InvalidToken, UnicodeError, msgspec.DecodeError, RecursionError) as error:
            raise Unauthorized(INVALID) from error
        scope_id, federation = _unpack(payload.scope_id), _federation(payload.federation)
        methods = {name for index, name in enumerate(METHODS) if payload.methods >> index & 1}
        return Identity(
            user_id=_unpack(payload.user) or "",
            user_domain_id=_unpack(payload.user_domain) or DEFAULT_DOMAIN,
            project_id=scope_id if payload.scope == "p" else None,
            project_domain_id=(_unpack(payload.scope_domain) or DEFAULT_DOMAIN) if payload.scope == "p" else None,
            domain_id=scope_id if payload.scope == "d" else None,
            system=payload.scope == "s",
            roles=frozenset(payload.roles),
            methods=tuple(sorted(methods | ({federation.protocol_id} if federation else set()))),
            audit_ids=tuple(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in payload.audit),
            issued_at=payload.issued_at,
            expires_at=payload.expires_at,
            application_credential_id=_unpack(payload.application_credential),
            access_rules=None if payload.access_rules is None else tuple(payload.access_rules),
            access_token_id=_unpack(payload.access_token),
            federation=federation,
            trust_id=_unpack(payload.trust[0]) if payload.trust else None,
            trust_user_id=_unpack(payload.trust[1]) if payload.trust else None,
        )


def audit_id() -> str:
    """A random name for a token, by which it can be revoked and followed without being told."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def _pack(text: str) -> bytes | str:
    if len(text) == 32:
        try:
            packed = uuid.UUID(text)
        except ValueError:
            return text
        return packed.bytes if packed.hex == text else text
    return text


def _unpack(packed: bytes | str | None) -> str | None:
    return packed.hex() if isinstance(packed, bytes) else packed


def _known(identity: Identity) -> set[str]:
    """The methods that have a bit; a protocol that has none stands in what the token says of federation."""
    return set(METHODS) if identity.federation else set(identity.methods)


def _packed_federation(one: FederatedLogin | None) -> list[Any] | None:
    return [one.idp_id, one.protocol_id, [_pack(group) for group in one.group_ids]] if one else None


def _federation(packed: list[Any] | None) -> FederatedLogin | None:
    if packed is None:
        return None
    idp_id, protocol_id, groups = packed
    return FederatedLogin(idp_id=idp_id, protocol_id=protocol_id, group_ids=tuple(_unpack(one) or "" for one in groups))


def _domain(domain_id: str | None) -> bytes | str | None:
    return None if domain_id in (None, DEFAULT_DOMAIN) else _pack(domain_id)
