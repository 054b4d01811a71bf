"""Signatures of AWS's protocols, as services that speak them pass them on: EC2's versions 0, 1, 2 and 4, and S3's.

Source: AWS General Reference, "Signature Version 2" and "Signature Version 4 signing process"; S3, "REST authentication".
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from pileus.model.base import Model
from pileus.model.errors import Unauthorized

V4 = "AWS4-HMAC-SHA256"
S3_SERVICES = ("s3", "iam", "sts")
FRESH = 900.0
"""Seconds for which a request counts that says when it was signed."""


class SignedCall(Model, frozen=True, kw_only=True):
    """A request as its service received it; header names in lower case."""

    params: dict[str, str]
    headers: dict[str, str] = {}
    verb: str = ""
    host: str = ""
    path: str = ""
    body_hash: str = ""


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _query(params: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(params[name], safe='-_.~')}" for name in sorted(params))


def _field(call: SignedCall, name: str) -> str:
    """A part of a version 4 signature: of the Authorization header, or of the query."""
    header = call.headers.get("authorization")
    if header is None:
        return call.params.get(f"X-Amz-{name}", "")
    return next((part.strip().partition("=")[2] for part in header.partition(" ")[2].split(",") if part.strip().startswith(f"{name}=")), "")


def is_version_4(call: SignedCall) -> bool:
    """Whether the request was signed by version 4."""
    return call.headers.get("authorization", "").startswith(V4) or call.params.get("X-Amz-Algorithm") == V4


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key of version 4 for a day, a region and a service."""
    key = _hmac(f"AWS4{secret}".encode(), date)
    for part in (region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _version_4(call: SignedCall, secret: str) -> str:
    scope = _field(call, "Credential").split("/")
    moment = call.headers.get("x-amz-date") or call.params.get("X-Amz-Date", "")
    if len(scope) != 5 or scope[4] != "aws4_request" or not moment.startswith(scope[1]) or not scope[1]:
        raise Unauthorized("The scope of the signature is not that of its date.")
    names = _field(call, "SignedHeaders")
    headers = "".join(f"{name}:{call.headers[name].strip()}\n" for name in names.split(";") if name in call.headers)
    query = "" if call.verb.upper() == "POST" else _query({name: call.params[name] for name in call.params if name != "X-Amz-Signature"})
    request = "\n".join((call.verb.upper(), call.path, query, headers, names, call.body_hash))
    text = "\n".join((V4, moment, "/".join(scope[1:]), hashlib.sha256(request.encode()).hexdigest()))
    return _hmac(signing_key(secret, *scope[1:4]), text).hex()


def _version_2(call: SignedCall, secret: str) -> str:
    text = "\n".join((call.verb, call.host, call.path, _query({**call.params, "SignatureMethod": "HmacSHA256"})))
    return _base64(_hmac(secret.encode(), text))


def _version_1(call: SignedCall, secret: str) -> str:
    text = "".join(f"{name}{call.params[name]}" for name in sorted(call.params, key=str.lower))
    return _base64(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest())


def _version_0(call: SignedCall, secret: str) -> str:
    text = call.params.get("Action", "") + call.params.get("Timestamp", "")
    return _base64(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest())


VERSIONS = {"0": _version_0, "1": _version_1, "2": _version_2}


def _signature(call: SignedCall, secret: str) -> str:
    version = call.params.get("SignatureVersion")
    if version in VERSIONS:
        return VERSIONS[version](call, secret)
    if is_version_4(call):
        return _version_4(call, secret)
    raise Unauthorized(f"A signature of version {version} is not known." if version else "The form of the signature is not known.")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode(errors="replace"))


def ec2_matches(call: SignedCall, secret: str, given: str) -> bool:
    """Whether the secret gives the signature. Some clients sign the host without its port."""
    if _same(_signature(call, secret), given):
        return True
    host = urlsplit(f"//{call.host}").hostname if ":" in call.host else None
    return host is not None and _same(_signature(_at(call, host), secret), given)


def _at(call: SignedCall, host: str) -> SignedCall:
    return SignedCall(params=call.params, headers=call.headers, verb=call.verb, host=host, path=call.path, body_hash=call.body_hash)


def s3_matches(token: str, secret: str, given: str) -> bool:
    """Whether the secret gives the signature of what S3 signs; `token` is that in base 64."""
    try:
        plain = base64.urlsafe_b64decode(token.encode("ascii"))
        text = plain.decode()
    except (binascii.Error, UnicodeError) as error:
        raise Unauthorized("What was signed is not in base 64.") from error
    if not text.startswith("AWS4"):
        return _same(_base64(hmac.new(secret.encode(), plain, hashlib.sha1).digest()), given)
    lines = text.split("\n")
    scope = lines[2].split("/") if len(lines) == 4 and lines[0] == V4 else []
    if len(scope) != 4 or scope[3] != "aws4_request" or scope[2] not in S3_SERVICES:
        raise Unauthorized("What was signed is not what S3 signs.")
    return _same(_hmac(signing_key(secret, *scope[:3]), text).hex(), given)


def moment_of(call: SignedCall) -> str | None:
    """When the request says that it was signed."""
    return call.params.get("Timestamp") or call.headers.get("x-amz-date") or call.params.get("X-Amz-Date")
