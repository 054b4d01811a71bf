"""OpenID Connect without the network: what a provider says of itself, which tokens of its count, and what they say as attributes.

OpenID Connect Core 1.0, sections 3.1.3.7 (ID tokens) and 5.3 (userinfo); Discovery 1.0, section 4.3; RFC 7662 (introspection),
RFC 8725 (JWT, best current practice), RFC 9068 (access tokens as JWT). Signatures are looked at elsewhere.
"""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Collection, Mapping
from typing import Any, TypeGuard, cast
from urllib.parse import urlsplit

import msgspec

from pileus.core.mapping_engine import SEPARATOR
from pileus.model.base import Model
from pileus.model.errors import Invalid, Unauthorized

ALGORITHMS = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC", "EdDSA": "OKP",
}  # fmt: skip
"""Signatures that need the provider's private key, with the type of the key. None by a shared secret, so that a public key never is one."""
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
"""Of tokens that show who somebody is; others are signed by the same keys (a logout, an event)."""
LEEWAY = 60.0
"""Seconds by which the provider's clock may differ."""
LONGEST = 16 << 10
"""Characters of a token."""
LONGEST_VALUE = 4096
"""Characters of one claim."""

Claims = Mapping[str, Any]


class Metadata(Model, frozen=True, kw_only=True):
    """What a provider says of itself at /.well-known/openid-configuration."""

    issuer: str
    jwks_uri: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    introspection_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = msgspec.field(default_factory=lambda: ["client_secret_basic"])
    introspection_endpoint_auth_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False


class Header(Model, frozen=True, kw_only=True):
    """The header of a signed token."""

    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: Any = None


def check_address(address: str, what: str) -> str:
    """The address; Invalid unless it is one of https, or of http on this machine."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"{what} is no address: {address!r}.", field=what) from error
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_local(parts.hostname or ""))
    if not safe or not parts.hostname or port == 0 or parts.username is not None or parts.fragment or not address.isprintable():
        raise Invalid(f"{what} must be an address of https (of http on this machine alone): {address!r}.", field=what)
    return address


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def discovery(issuer: str) -> str:
    """Where a provider says what there is."""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def metadata_of(document: bytes, issuer: str) -> Metadata:
    """What the provider says; Invalid when it is not the one that was asked, or sends us elsewhere than it may."""
    try:
        found = msgspec.json.decode(document, type=Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"The provider {issuer} does not say what it is: {error}.") from error
    if found.issuer != issuer:
        raise Invalid(f"The provider at {issuer} says that it is {found.issuer}; both must be the same, a slash at the end included.")
    for name in ("jwks_uri", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "introspection_endpoint"):
        if (address := getattr(found, name)) is not None:
            check_address(address, name)
    return found


def header_of(token: str) -> Header | None:
    """The header of a signed token, which nobody has looked at; None for a token that says nothing by itself."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)), type=Header)
    except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError):
        return None


def check_header(header: Header, accepted: Collection[str]) -> None:
    """Unauthorized for a token that is signed in a way that doesn't count, or that is no token of a user."""
    if header.alg not in ALGORITHMS or header.alg not in (accepted or ALGORITHMS):
        raise Unauthorized(f"The token is signed by {header.alg[:20]!r}, which is not accepted.")
    if header.crit is not None:
        raise Unauthorized("The token wants something of its header to be understood that is not.")
    if (header.typ.lower() if header.typ else None) not in TYPES:
        raise Unauthorized(f"The token is of type {(header.typ or '')[:40]!r}, not one that shows who somebody is.")


def fits(key: Mapping[str, Any], header: Header) -> bool:
    """Whether a key of the provider's may have signed a token with that header."""
    return (
        key.get("kty") == ALGORITHMS[header.alg]
        and key.get("use") in (None, "sig")
        and key.get("alg") in (None, header.alg)
        and key.get("crv") == CURVES.get(header.alg, key.get("crv"))
        and (header.kid is None or key.get("kid") == header.kid)
    )


def check_claims(claims: Claims, issuer: str, audiences: Collection[str], now: float) -> None:
    """Unauthorized unless the token is of that issuer, for one of the audiences, of somebody, and counts now."""
    if claims.get("iss") != issuer:
        raise Unauthorized("The token is of another issuer.")
    if not _audience(claims) & set(audiences):
        raise Unauthorized("The token is for another audience.")
    _check_times(claims, now, expires=True)
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise Unauthorized("The token does not say whose it is.")


def check_login(claims: Claims, client_id: str, nonce: str) -> None:
    """Unauthorized unless the ID token was made for this client and this login. Call `check_claims` first."""
    others = _audience(claims) - {client_id}
    if claims.get("azp", None if others else client_id) != client_id:
        raise Unauthorized("The token was made for another client.")
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise Unauthorized("The token is of another login.")


def check_introspected(claims: Claims, issuer: str, audiences: Collection[str], now: float) -> None:
    """Unauthorized unless the provider calls the token active, and says that it is for one of the audiences or by one of these clients."""
    if claims.get("active") is not True:
        raise Unauthorized("The identity provider does not know the token, or it counts no more.")
    if claims.get("iss", issuer) != issuer:
        raise Unauthorized("The token is of another issuer.")
    whose = _audience(claims) or {claims.get("client_id")}
    if not whose & set(audiences):
        raise Unauthorized("The token is for another audience.")
    if (kind := claims.get("token_type")) is not None and str(kind).lower() not in ("bearer", "access_token"):
        raise Unauthorized("The token is none of access.")
    _check_times(claims, now, expires=False)


def check_userinfo(said: Claims, claims: Claims) -> None:
    """Unauthorized when what the provider says of a user is of another."""
    if said.get("sub") != claims.get("sub"):
        raise Unauthorized("The identity provider speaks of another user than the token.")


def _audience(claims: Claims) -> set[Any]:
    given = claims.get("aud")
    if isinstance(given, list):
        return {one for one in cast(list[Any], given) if isinstance(one, str)}
    return {given} if isinstance(given, str) else set()


def _check_times(claims: Claims, now: float, *, expires: bool) -> None:
    ends, begins = claims.get("exp"), claims.get("nbf")
    if (ends is not None or expires) and not (_is_number(ends) and now < ends + LEEWAY):
        raise Unauthorized("The token has expired.")
    if begins is not None and not (_is_number(begins) and now > begins - LEEWAY):
        raise Unauthorized("The token does not count yet.")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def assertion_of(claims: Claims) -> dict[str, list[str]]:
    """Claims under the names by which a web server in front of Keystone hands them over, so that mappings stay as they are.

    `sub` is `OIDC-sub`, `OIDC_CLAIM_sub` and `HTTP_OIDC_SUB`. The values of a list stay several; a text may have a semicolon between some.
    """
    assertion: dict[str, list[str]] = {}
    for name in sorted(claims, key=lambda one: (one != one.lower() or "-" in one, one)):  # no other claim takes the place of `sub`
        values = _values(claims[name])
        if values is None or any(len(one) > LONGEST_VALUE for one in values):
            continue
        for key in (f"OIDC-{name}", f"OIDC_CLAIM_{name}", f"HTTP_OIDC_{name.upper().replace('-', '_')}"):
            assertion.setdefault(key, values)
    if isinstance(claims.get("sub"), str):
        assertion["REMOTE_USER"] = [claims["sub"]]
    return assertion


def _values(value: Any) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.split(SEPARATOR)
    if isinstance(value, list):
        return [text for one in cast(list[Any], value) if (text := _text(one)) is not None] or None
    return [_text(value) or ""]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    return msgspec.json.encode(value).decode()
