"""Auth receipts: what a login has shown when its user's rules want more, for the login that goes on."""

from typing import Any, Literal

import msgspec
from cryptography.fernet import InvalidToken

from pileus import clock
from pileus.api.identity.documents import timestamp, tokens_of
from pileus.api.identity.login_methods import KNOWN
from pileus.api.identity.logins import Login
from pileus.api.request import Request, Response
from pileus.core.multi_factor import Rules, could_follow, enough, rules_of
from pileus.model.errors import Unauthorized
from pileus.model.users import User
from pileus.store.projects import PROJECTS

HEADER = "Openstack-Auth-Receipt"
LIFE = 300.0
"""Seconds: enough to type in what is missing."""
FORM = 101
"""Tells a receipt from a token, which is encrypted by the same keys."""


class Receipt(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What stands in a receipt. `latest` and `chain` go on to the token, as with a login at once."""

    form: Literal[101]
    user_id: str
    methods: list[str]
    issued_at: float
    expires_at: float
    latest: float | None
    chain: str | None


_decoder = msgspec.msgpack.Decoder(Receipt)


def take_receipt(request: Request, login: Login) -> None:
    """Add what an earlier login has shown, when the request has its receipt; Unauthorized for another's, or one that counts no more."""
    text = request.headers.get(HEADER.lower())
    if not text:
        return
    receipt = _opened(request, text)
    if receipt is None or receipt.user_id != login.user.id:
        raise Unauthorized("Could not find the auth receipt; begin the login anew.")
    login.methods += receipt.methods
    login.latest = min(login.latest, float("inf") if receipt.latest is None else receipt.latest)
    login.chain = login.chain or receipt.chain


def _opened(request: Request, text: str) -> Receipt | None:
    tokens = tokens_of(request)
    try:
        receipt = _decoder.decode(tokens.ring.decrypt(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (InvalidToken, UnicodeError, msgspec.DecodeError, RecursionError):
        return None
    keys = [f"user:{receipt.user_id}", *([f"chain:{receipt.chain}"] if receipt.chain else [])]
    if clock.now() >= receipt.expires_at or tokens.revoked(keys, receipt.issued_at):
        return None
    return receipt


async def unless_enough(request: Request, login: Login) -> Response | None:
    """None when the login has shown what its user's rules want; else the answer, with a receipt of what it has shown.

    What was delegated (an application credential, an access token) gets none: nothing could be added to it.
    """
    rules = rules_of(login.user.options, KNOWN)
    if enough(rules, login.methods):
        return None
    if login.delegated:
        raise Unauthorized("The rules for this user want other methods of authentication than this one.")
    now = clock.now()
    receipt = Receipt(
        form=FORM,
        user_id=login.user.id,
        methods=sorted(set(login.methods)),
        issued_at=now,
        expires_at=now + LIFE,
        latest=None if login.latest == float("inf") else login.latest,
        chain=login.chain,
    )
    text = tokens_of(request).ring.encrypt(msgspec.msgpack.encode(receipt)).rstrip(b"=").decode()
    return Response(401, await _document(request, login.user, receipt, rules), {HEADER: text, "Vary": "X-Auth-Token"})


async def _document(request: Request, user: User, receipt: Receipt, rules: Rules) -> dict[str, Any]:
    domain = await PROJECTS.get(request.cloud.db, user.domain_id)
    home = {"id": user.domain_id, "name": domain.name if domain else ""}
    return {
        "receipt": {
            "methods": receipt.methods,
            "user": {"id": user.id, "name": user.name, "domain": home},
            "expires_at": timestamp(receipt.expires_at),
            "issued_at": timestamp(receipt.issued_at),
        },
        "required_auth_methods": could_follow(rules, receipt.methods),
    }
