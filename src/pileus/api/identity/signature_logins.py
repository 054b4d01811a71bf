"""Logins by EC2 keys: a service that was sent a signed request of AWS's protocols asks whose it is, and gets that user's token."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from pileus import clock
from pileus.api.identity.auth import identify
from pileus.api.identity.credentials import opened
from pileus.api.identity.documents import parse_time, tokens_of
from pileus.api.identity.login_methods import demand_enabled
from pileus.api.identity.login_scopes import narrowed_scope
from pileus.api.identity.logins import Login
from pileus.api.identity.token_documents import token_document
from pileus.api.identity.tokens import INVALID
from pileus.api.request import Request, Response
from pileus.core.aws_signatures import FRESH, SignedCall, ec2_matches, moment_of, s3_matches
from pileus.model.base import Model
from pileus.model.credentials import Credential
from pileus.model.errors import Invalid, NotFound, Unauthorized
from pileus.store.credentials import CREDENTIALS
from pileus.store.users import USERS


class Signature(Model, frozen=True, kw_only=True):
    """What a service was sent; S3 sends `token`, EC2 the request's parts."""

    access: str
    signature: str | None = None
    token: str | None = None
    params: dict[str, Any] = {}
    headers: dict[str, Any] = {}
    verb: str = ""
    host: str = ""
    path: str = ""
    body_hash: str = ""


class Signed(Model, frozen=True, kw_only=True, rename={"ec2_credentials": "ec2Credentials"}):
    """POST /v3/ec2tokens, POST /v3/s3tokens: the signature by any of three names."""

    credentials: Signature | None = None
    credential: Signature | None = None
    ec2_credentials: Signature | None = None


Check = Callable[[Signature, str, str], bool]


async def ec2_token(request: Request) -> Response:
    """POST /v3/ec2tokens."""
    return await _token(request, _check_ec2, with_text=True)


async def s3_token(request: Request) -> Response:
    """POST /v3/s3tokens: the token's own text is not told."""
    return await _token(request, _check_s3, with_text=False)


def _check_ec2(given: Signature, secret: str, signature: str) -> bool:
    call = SignedCall(
        params={name: str(value) for name, value in given.params.items()},
        headers={name.lower().strip(): str(value) for name, value in given.headers.items()},
        verb=given.verb,
        host=given.host,
        path=given.path,
        body_hash=given.body_hash,
    )
    return ec2_matches(call, secret, signature) and _is_fresh(call)


def _is_fresh(call: SignedCall) -> bool:
    text = moment_of(call)
    if text is None:
        return True  # versions 0 to 2 may have no time
    try:
        return abs(parse_time(text, "timestamp") - clock.now()) <= FRESH
    except Invalid:
        return False


def _check_s3(given: Signature, secret: str, signature: str) -> bool:
    return s3_matches(given.token or "", secret, signature)


async def _token(request: Request, check: Check, *, with_text: bool) -> Response:
    request.notes["login"] = None  # for the audit log
    body: Signed = request.body
    given = body.credentials or body.credential or body.ec2_credentials
    if given is None or not given.signature:
        raise Unauthorized("EC2 signature not supplied.")
    key = await CREDENTIALS.get(request.cloud.db, hashlib.sha256(given.access.encode(errors="replace")).hexdigest())
    if key is None or key.type != "ec2":
        raise NotFound("EC2 access key not found.")
    secret = _secret(request, key)
    with request.cloud.login_limits.attempt(f"ec2 {key.id}", request.remote_address) as attempt:
        attempt.right = check(given, secret, given.signature)
    if not attempt.right:
        raise Unauthorized("The EC2 signature does not match, or is too old.")
    user = await USERS.get(request.cloud.db, key.user_id)
    if user is None or key.project_id is None:
        raise Unauthorized(INVALID)
    await demand_enabled(request, user)
    scope = await narrowed_scope(request.cloud.db, user, key.project_id, None)
    identity = await identify(request, Login(user=user, methods=["ec2credential"], latest=float("inf")), scope)
    document = await token_document(request, identity, catalog=True)
    request.notes["login"] = identity
    return Response(200, document, {"X-Subject-Token": tokens_of(request).issue(identity)} if with_text else {})


def _secret(request: Request, key: Credential) -> str:
    """The key's secret; Unauthorized for a key that was made of something lent, which none is here."""
    try:
        kept = msgspec.json.decode(opened(request, key), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Unauthorized(INVALID) from error
    secret = kept.get("secret")
    if not isinstance(secret, str) or not secret or any(kept.get(name) for name in ("trust_id", "app_cred_id", "access_token_id")):
        raise Unauthorized(INVALID)
    return secret
