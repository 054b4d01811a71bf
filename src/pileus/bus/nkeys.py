"""Keys and claims with which NATS knows its clients (NATS docs, "JWT authentication"; ADR 0012): Ed25519 seeds and signed permissions.

The cloud holds an operator's and an account's seed. What the account signs is a client's permission to use some subjects; the NATS
server checks the signature, so that a host joins without any change to the server.
"""

import base64
import hashlib
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pileus.model.base import Model
from pileus.model.errors import Invalid

SEED = 18 << 3
KINDS = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
NO_LIMIT = -1


class Permissions(Model, frozen=True, kw_only=True):
    """The subjects that a client may publish to and subscribe to; NATS wildcards allowed."""

    publish: list[str]
    subscribe: list[str]


def new_seed(kind: str) -> str:
    """A random seed, as text that NATS's own tools read."""
    raw = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    prefix = KINDS[kind]
    return _text(bytes([SEED | prefix >> 5, (prefix & 31) << 3]) + raw)


def public_key(seed: str) -> str:
    """The public key of a seed, as text."""
    kind, private = _private(seed)
    return _text(bytes([kind]) + private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def check_public(text: str, kind: str) -> str:
    """The text, when it is a public key of this kind; else Invalid."""
    raw = _raw(text)
    if len(raw) != 33 or raw[0] != KINDS[kind]:
        raise Invalid(f"public_key is not a public key of a NATS {kind}.")  # it may be the seed by mistake: not said again
    return text


def sign(seed: str, data: bytes) -> bytes:
    """The signature of data, base64."""
    return base64.b64encode(_private(seed)[1].sign(data))


def operator_claims(operator_seed: str, name: str, now: int) -> str:
    """The operator's own claims, which a NATS server is configured with."""
    return _signed(operator_seed, public_key(operator_seed), name, now, {"type": "operator", "version": 2})


def account_claims(operator_seed: str, account: str, name: str, now: int, revoked: dict[str, int] | None = None) -> str:
    """An account's claims. `revoked`: public key of a client -> time until when its claims were issued that are void."""
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), NO_LIMIT) | {"wildcards": True}
    nats: dict[str, Any] = {"limits": limits, "default_permissions": {}, "type": "account", "version": 2}
    if revoked:
        nats["revocations"] = revoked
    return _signed(operator_seed, account, name, now, nats)


def user_claims(account_seed: str, user: str, name: str, now: int, permissions: Permissions | None) -> str:
    """A client's claims; without `permissions` it may use every subject of the account."""
    nats: dict[str, Any] = dict.fromkeys(("subs", "data", "payload"), NO_LIMIT) | {"type": "user", "version": 2}
    if permissions is not None:
        nats |= {"pub": {"allow": permissions.publish}, "sub": {"allow": permissions.subscribe}}
    return _signed(account_seed, user, name, now, nats)


def _signed(issuer_seed: str, subject: str, name: str, now: int, nats: dict[str, Any]) -> str:
    claims: dict[str, Any] = {"iat": now, "iss": public_key(issuer_seed), "name": name, "sub": subject, "nats": nats}
    claims["jti"] = base64.b32encode(hashlib.sha256(msgspec.json.encode(claims)).digest()).decode().rstrip("=")
    head = _url(msgspec.json.encode({"typ": "JWT", "alg": "ed25519-nkey"}))
    body = _url(msgspec.json.encode(claims))
    signature = _private(issuer_seed)[1].sign(f"{head}.{body}".encode())
    return f"{head}.{body}.{_url(signature)}"


def _private(seed: str) -> tuple[int, Ed25519PrivateKey]:
    raw = _raw(seed)
    if len(raw) != 34 or raw[0] & 0xF8 != SEED:
        raise Invalid("This is not a seed of NATS.")
    return (raw[0] & 7) << 5 | raw[1] >> 3, Ed25519PrivateKey.from_private_bytes(raw[2:])


def _text(raw: bytes) -> str:
    return base64.b32encode(raw + _checksum(raw)).decode().rstrip("=")


def _raw(text: str) -> bytes:
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raw = b""
    if len(raw) < 3 or _checksum(raw[:-2]) != raw[-2:]:
        raise Invalid("This is not a key of NATS.")
    return raw[:-2]


def _checksum(data: bytes) -> bytes:
    """CRC-16 (XMODEM), low byte first."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (0x1021 if crc & 0x8000 else 0)
        crc &= 0xFFFF
    return crc.to_bytes(2, "little")


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
