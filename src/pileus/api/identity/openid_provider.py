"""A provider of OpenID Connect, as far as it is known: what it says of itself and its keys, kept for a while, and what it is asked."""

import asyncio
import base64
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlsplit

import msgspec

from pileus import clock
from pileus.api.identity.provider_requests import Answer, Question, ask
from pileus.core import openid
from pileus.core.openid import Header, Metadata
from pileus.model.errors import Invalid, PileusError, Unauthorized, Unavailable
from pileus.model.federation import OpenIdSettings

if TYPE_CHECKING:
    from jwt import PyJWK

log = logging.getLogger("pileus.identity")
KEPT = 3600.0
"""Seconds for which what a provider says of itself, and its keys, are not asked for again."""
SOONEST = 30.0
"""Seconds between two looks for a key that is not known: whoever makes up names of keys asks the provider nothing."""
AFTER_FAILURE = 5.0
"""Seconds for which a provider that did not answer is not asked again."""
MOST_ASKED = 32
"""Questions to one provider at a time, so that one that is slow leaves room for the others'."""
SMALLEST_RSA = 2048
"""Bits."""
MOST_KEYS = 100


class KeySet(msgspec.Struct, frozen=True):
    """The keys that a provider publishes (RFC 7517)."""

    keys: list[dict[str, Any]]


class Provider:
    """One provider, as one cloud asks it. `secret` is opened for the time of a question only."""

    def __init__(self, settings: OpenIdSettings) -> None:
        self.settings = settings
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._metadata_at = self._keys_at = self._failed_at = float("-inf")
        self._failure = ""
        self._asked = 0
        self._keys: list[dict[str, Any]] = []

    @property
    def audiences(self) -> list[str]:
        """For whom a token must be."""
        return self.settings.audiences or [self.settings.client_id]

    async def metadata(self) -> Metadata:
        """What it says of itself."""
        if self._metadata is not None and clock.monotonic() - self._metadata_at < KEPT:
            return self._metadata
        async with self._lock:
            return await self._known_metadata()

    async def keys(self, header: Header) -> list[dict[str, Any]]:
        """Its keys that may have signed a token with that header; they are asked for again when none of those that are known fits."""
        if (found := self._fitting(header)) and clock.monotonic() - self._keys_at <= KEPT:
            return found  # without the lock: who looks for a key that is not known keeps nobody waiting
        async with self._lock:
            found, age = self._fitting(header), clock.monotonic() - self._keys_at
            if age > KEPT or (not found and age > SOONEST):
                await self._ask_for_keys(bool(found))
                found = self._fitting(header)
        return found

    def _fitting(self, header: Header) -> list[dict[str, Any]]:
        return [one for one in self._keys if openid.fits(one, header)]

    async def introspect(self, token: str, secret: str | None) -> dict[str, Any]:
        """What it says of a token that says nothing by itself (RFC 7662)."""
        metadata = await self.metadata()
        if metadata.introspection_endpoint is None or secret is None:
            raise Unauthorized("The token is none that can be read here, and its provider can't be asked about it.")
        methods = metadata.introspection_endpoint_auth_methods_supported or metadata.token_endpoint_auth_methods_supported
        form = {"token": token, "token_type_hint": "access_token"}
        answer = await self._ask_as_client(metadata.introspection_endpoint, form, secret, methods)
        if answer.status != 200:
            raise Unavailable(
                f"The identity provider refuses to say whose a token is (status {answer.status}); its client may be wrong here."
            )
        return answer.document(self._host)

    async def userinfo(self, token: str) -> dict[str, Any]:
        """What it says of the user whose access token that is."""
        metadata = await self.metadata()
        if metadata.userinfo_endpoint is None:
            raise Unauthorized("The identity provider has nothing to say of users.")
        answer = await self._ask(metadata.userinfo_endpoint, None, {"Authorization": f"Bearer {token}"})
        if answer.status != 200:
            raise Unauthorized("The identity provider says nothing of the user of this token.")
        return answer.document(self._host)

    async def redeem(self, form: dict[str, str], secret: str | None) -> dict[str, Any]:
        """The tokens for an authorization code (RFC 6749, section 4.1.3)."""
        metadata = await self.metadata()
        if metadata.token_endpoint is None:
            raise Unavailable("The identity provider gives no tokens.")
        answer = await self._ask_as_client(metadata.token_endpoint, form, secret, metadata.token_endpoint_auth_methods_supported)
        if answer.status != 200:
            raise Unauthorized("The identity provider does not take the code of this login; begin it anew.")
        return answer.document(self._host)

    @property
    def _host(self) -> str:
        return urlsplit(self.settings.issuer).netloc

    async def _ask(self, address: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Answer:
        if clock.monotonic() - self._failed_at < AFTER_FAILURE:
            raise Unavailable(self._failure)
        if self._asked >= MOST_ASKED:
            raise Unavailable(f"Too many logins wait for the identity provider at {self._host}; try again later.")
        self._asked += 1
        try:
            return await ask(Question(address=address, form=form, headers=headers or {}, authorities=self.settings.authorities))
        except Unavailable as error:
            raise self._failed(error.message) from error
        finally:
            self._asked -= 1

    async def _ask_as_client(self, address: str, form: dict[str, str], secret: str | None, methods: list[str]) -> Answer:
        """As the client that the provider knows (RFC 6749, section 2.3.1)."""
        name = self.settings.client_id
        if secret is None:
            return await self._ask(address, {**form, "client_id": name})
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            return await self._ask(address, {**form, "client_id": name, "client_secret": secret})
        words = base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()
        return await self._ask(address, form, {"Authorization": f"Basic {words}"})

    async def _known_metadata(self) -> Metadata:
        if self._metadata is not None and clock.monotonic() - self._metadata_at < KEPT:
            return self._metadata
        answer = await self._fetch(openid.discovery(self.settings.issuer))
        try:
            self._metadata = openid.metadata_of(answer.body, self.settings.issuer)
        except Invalid as error:
            raise self._failed(error.message) from error
        self._metadata_at = clock.monotonic()
        return self._metadata

    async def _ask_for_keys(self, could_do_without: bool) -> None:
        try:
            metadata = await self._known_metadata()
            if metadata.jwks_uri is None:
                raise self._failed("the provider publishes no keys")
            answer = await self._fetch(metadata.jwks_uri)
            try:
                keys = msgspec.json.decode(answer.body, type=KeySet).keys[:MOST_KEYS]
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self._failed(f"the provider's keys can't be understood: {error}") from error
        except PileusError as error:
            if not could_do_without:
                raise
            log.warning("%s; the keys that are known are used for now", error.message)
        else:
            self._keys = keys
        self._keys_at = clock.monotonic()

    async def _fetch(self, address: str) -> Answer:
        answer = await self._ask(address)
        if answer.status != 200:
            raise self._failed(f"{address} answers with status {answer.status}")
        return answer

    def _failed(self, words: str) -> Unavailable:
        self._failed_at, self._failure = clock.monotonic(), words
        return Unavailable(words)


class Providers:
    """The providers that this process has asked, by protocol; other settings make another provider of one."""

    def __init__(self) -> None:
        self._known: dict[str, Provider] = {}

    def of(self, settings: OpenIdSettings) -> Provider:
        """The provider of a protocol's settings."""
        known = self._known.get(settings.id)
        if known is None or known.settings != settings:
            known = self._known[settings.id] = Provider(settings)
        return known


async def read_token(provider: Provider, token: str) -> dict[str, Any]:
    """The claims of a signed token; Unauthorized unless one of the provider's keys signed it, in a way that counts."""
    header = openid.header_of(token)
    if header is None:
        raise Unauthorized("The token is no signed one.")
    openid.check_header(header, provider.settings.algorithms)
    for document in await provider.keys(header):
        key = _key(document, header.alg)
        if key is not None and (payload := _verified(token, key, header.alg)) is not None:
            try:
                return msgspec.json.decode(payload, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Unauthorized("The token holds nothing that can be understood.") from error
    raise Unauthorized("The token is not signed by a key of its identity provider.")


def _key(document: dict[str, Any], algorithm: str) -> "PyJWK | None":
    from jwt import PyJWK, PyJWTError  # late: most processes never need it

    try:
        key = PyJWK({name: value for name, value in document.items() if name != "d"}, algorithm=algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    if document.get("kty") == "RSA" and key.key.key_size < SMALLEST_RSA:
        return None
    return key


def _verified(token: str, key: "PyJWK", algorithm: str) -> bytes | None:
    from jwt import PyJWS, PyJWTError

    try:
        return PyJWS().decode_complete(token, key=key, algorithms=[algorithm])["payload"]
    except (PyJWTError, ValueError, TypeError):
        return None


async def claims_of(provider: Provider, token: str, secret: str | None) -> dict[str, Any]:
    """What the provider says by a token that somebody has shown, and of whom; Unauthorized for one that doesn't count."""
    if not token or len(token) > openid.LONGEST or not token.isascii():
        raise Unauthorized("The token is none that counts here.")
    settings, now = provider.settings, clock.now()
    if openid.header_of(token) is not None:
        claims = await read_token(provider, token)
        openid.check_claims(claims, settings.issuer, provider.audiences, now)
    else:
        claims = await provider.introspect(token, secret)
        openid.check_introspected(claims, settings.issuer, [*provider.audiences, settings.client_id], now)
        claims = {"iss": settings.issuer, **{name: value for name, value in claims.items() if name != "active"}}
    if settings.userinfo:
        claims = await with_userinfo(provider, token, claims)
    return claims


async def with_userinfo(provider: Provider, token: str, claims: dict[str, Any]) -> dict[str, Any]:
    """The claims, and what the provider says of the user besides."""
    said = await provider.userinfo(token)
    openid.check_userinfo(said, claims)
    return {**said, **claims}
