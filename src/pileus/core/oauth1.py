"""Signatures of OAuth 1 (RFC 5849): the header is read, the base string made, the signature compared."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable
from urllib.parse import quote, unquote, urlsplit

from pileus.model.base import Model
from pileus.model.errors import Invalid, Unauthorized

HASHES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "HMAC-SHA1": lambda key, data: hmac.new(key, data, hashlib.sha1).digest(),
    "HMAC-SHA256": lambda key, data: hmac.new(key, data, hashlib.sha256).digest(),
}
SKEW = 600.0
"""Seconds by which a consumer's clock may be wrong."""
PORTS = {"http": 80, "https": 443}


class Signed(Model, frozen=True, kw_only=True):
    """A request as it was signed. `url` without its query; `queries` are the query's pairs, decoded."""

    method: str
    url: str
    queries: list[tuple[str, str]]
    header: dict[str, str]


def escaped(text: str) -> str:
    """Percent-encoding as RFC 5849, 3.6 has it."""
    return quote(text, safe="-._~")


def read_header(text: str) -> dict[str, str]:
    """The parameters of an Authorization header, decoded and without the realm; Invalid when it is none of OAuth."""
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() != "oauth" or not rest.strip():
        raise Invalid("The request needs an Authorization header of OAuth 1.", field="Authorization")
    found: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name in found:
            raise Invalid("The Authorization header of OAuth 1 is malformed.", field="Authorization")
        found[unquote(name)] = unquote(value.strip().strip('"'))
    found.pop("realm", None)
    return found


def base_string(signed: Signed) -> str:
    """What is signed: the method, the address, and all parameters in order."""
    parts = urlsplit(signed.url)
    host = (parts.hostname or "").lower()
    port = f":{parts.port}" if parts.port not in (None, PORTS.get(parts.scheme.lower())) else ""
    address = f"{parts.scheme.lower()}://{f'[{host}]' if ':' in host else host}{port}{parts.path or '/'}"
    pairs = [*signed.queries, *((name, value) for name, value in signed.header.items() if name != "oauth_signature")]
    parameters = "&".join(f"{name}={value}" for name, value in sorted((escaped(name), escaped(value)) for name, value in pairs))
    return "&".join(escaped(one) for one in (signed.method.upper(), address, parameters))


def signature(signed: Signed, consumer_secret: str, token_secret: str) -> str:
    """The signature that the secrets give, by the method that the header names."""
    digest = HASHES[signed.header["oauth_signature_method"]]
    key = f"{escaped(consumer_secret)}&{escaped(token_secret)}".encode()
    return base64.b64encode(digest(key, base_string(signed).encode())).decode()


def demand(header: dict[str, str], names: Iterable[str]) -> None:
    """Invalid for a header that lacks one of the parameters, or names a way to sign that is not known."""
    for name in (*names, "oauth_consumer_key", "oauth_signature_method", "oauth_signature", "oauth_timestamp", "oauth_nonce"):
        if not header.get(name):
            raise Invalid(f"Expecting to find {name} in request.", field=name)
    if header["oauth_signature_method"] not in HASHES:
        raise Invalid(f"oauth_signature_method must be one of {', '.join(HASHES)}.", field="oauth_signature_method")
    if header.get("oauth_version", "1.0") != "1.0":
        raise Invalid("oauth_version must be 1.0.", field="oauth_version")


def check_time(header: dict[str, str], now: float) -> None:
    """Unauthorized for a request that was signed long ago, or far ahead."""
    text = header["oauth_timestamp"]
    if not (text.isascii() and text.isdigit() and len(text) < 12) or abs(int(text) - now) > SKEW:
        raise Unauthorized("The request was signed at another time; look at this machine's clock.")


def is_right(signed: Signed, consumer_secret: str, token_secret: str) -> bool:
    """Whether the signature is that of these secrets; it takes the same time, however much of it is right."""
    given = signed.header["oauth_signature"].encode(errors="replace")
    return hmac.compare_digest(signature(signed, consumer_secret, token_secret).encode(), given)
