"""Idempotency-Key: a repeated POST gets the first answer again.

The key is kept with a digest of the request. While the first one is at work, or when its answer was lost in a crash, a repeat is told so
by a 409 rather than done twice: after a crash the caller looks what is there, and takes a new key.
"""

import hashlib
import logging

import msgspec
from cryptography.fernet import InvalidToken

from pileus import clock
from pileus.api.identity.keys import KeyRing, key_ring
from pileus.api.request import Request, Response, encode
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, Unavailable
from pileus.store.database import Transaction
from pileus.store.tables import Table

log = logging.getLogger(__name__)
LIFETIME = 24 * 3600.0
LONGEST_ANSWER = 1 << 20
LONGEST_REFUSAL = 8 << 10
"""A refusal says again what it refuses: longer ones are not kept, else tenants could fill the store. A repeat is refused anew."""


class Answer(Model, frozen=True, kw_only=True):
    """What was answered to the first request with a key. `status` 0: not answered yet.

    `body` is encrypted, headers included (the column `headers` stays empty): answers may carry secrets, such as a new private key.
    """

    id: str
    digest: str
    status: int
    headers: dict[str, str]
    body: str
    created_at: float


class Sealed(Model, frozen=True, kw_only=True):
    """What is encrypted."""

    headers: dict[str, str]
    body: bytes


ANSWERS = Table("idempotency_answers", Answer)


async def replay(request: Request) -> Response | None:
    """Before the handler: the first answer, or None when this is the first request with its key."""
    key = request.headers.get("idempotency-key")
    if not key or request.method != "POST" or request.route.stream:
        return None
    if len(key) > 255 or not key.isprintable():
        raise Invalid("Idempotency-Key: at most 255 printable characters.")
    identity = getattr(request, "identity", None)
    if identity is None:
        return None
    place = identity.project_id or identity.domain_id or ("system" if identity.system else "")
    scope = f"{identity.user_id}\0{place}\0{identity.application_credential_id or ''}\0{key}"
    name = hashlib.sha256(scope.encode()).hexdigest()
    digest = hashlib.sha256(f"{request.path}\0{sorted(request.queries)}\0".encode() + request.notes.get("bytes", b"")).hexdigest()

    async def claim(tx: Transaction) -> Answer | None:
        await tx.execute("DELETE FROM idempotency_answers WHERE created_at < ?", clock.now() - LIFETIME)
        seen = await ANSWERS.get(tx, name)
        if seen is None:
            fresh = Answer(id=name, digest=digest, status=0, headers={}, body="", created_at=clock.now())
            await ANSWERS.insert(tx, fresh)
        return seen

    seen = await request.cloud.db.write(claim)
    if seen is None:
        request.notes["idempotency"] = name
        return None
    if seen.digest != digest:
        raise Invalid("Idempotency-Key: this key was used with another request; take a new one.", status=422)
    if seen.status == 0:
        raise Conflict(
            "The first request with this Idempotency-Key is still at work, or its answer was lost in a crash: look what is there."
        )
    try:
        first = msgspec.json.decode(_ring(request).decrypt(seen.body.encode()), type=Sealed)
    except InvalidToken as error:
        raise Conflict("The first answer to this Idempotency-Key can't be read any more; look what is there.") from error
    return Response(seen.status, first.body, {**first.headers, "Idempotency-Replayed": "true"})


def _ring(request: Request) -> KeyRing:
    return key_ring(request.cloud.config.directory / "secrets" / "answer-keys")


async def remember(request: Request, response: Response) -> None:
    """After the handler: keep the answer; a server's error frees the key, so that the request can be tried again."""
    name = request.notes.get("idempotency")
    if name is None:
        return
    body = response.body
    data = b"" if body is None else bytes(body) if isinstance(body, bytes | msgspec.Raw) else encode(body)
    sealed = _ring(request).encrypt(encode(Sealed(headers=response.headers, body=data))).decode()

    async def keep(tx: Transaction) -> None:
        if response.status >= 500 or len(data) > (LONGEST_ANSWER if response.status < 400 else LONGEST_REFUSAL):
            await ANSWERS.delete(tx, name)
        else:
            await ANSWERS.set(tx, name, status=response.status, body=sealed)

    try:
        await request.cloud.db.write(keep)
    except Unavailable as error:  # what was asked is done: its answer goes out, a repeat is told to look what is there
        log.warning("the answer to %s could not be kept: %s", request.id, error)
