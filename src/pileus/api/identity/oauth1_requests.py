"""Requests that consumers sign by OAuth 1: whose a signature is, and that it comes only once."""

import hashlib

from cryptography.fernet import InvalidToken

from pileus import clock
from pileus.api.identity.credentials import opened_text
from pileus.api.identity.tokens import INVALID
from pileus.api.request import Request
from pileus.core.oauth1 import SKEW, Signed, check_time, demand, is_right, read_header
from pileus.model.errors import Unauthorized, Unavailable
from pileus.model.oauth1 import AccessToken, RequestToken
from pileus.store.oauth1 import CONSUMERS, first_time

NOBODY = "no consumer has this secret"


def signed_request(request: Request, *names: str) -> Signed:
    """What was signed; `names` must be among the parameters."""
    header = read_header(request.headers.get("authorization", ""))
    demand(header, names)
    check_time(header, clock.now())
    return Signed(method=request.method, url=f"{request.base_url}{request.path}", queries=request.queries, header=header)


async def demand_right(request: Request, signed: Signed, token: RequestToken | AccessToken | None, *, with_token: bool) -> None:
    """Unauthorized unless the consumer, and the token where one is used, have signed it, and for the first time.

    That a consumer or a token is not there is told in the same words as that a signature is wrong.
    """
    header = signed.header
    consumer = await CONSUMERS.get(request.cloud.db, header["oauth_consumer_key"])
    known = consumer is not None and (not with_token or (token is not None and token.consumer_id == consumer.id))
    secret = _opened(request, consumer.sealed_secret) if consumer else NOBODY
    token_secret = _opened(request, token.sealed_secret) if token else NOBODY if with_token else ""
    with request.cloud.login_limits.attempt(f"oauth1 {header['oauth_consumer_key']}", request.remote_address) as attempt:
        attempt.right = is_right(signed, secret, token_secret) and known
    if not attempt.right:
        raise Unauthorized(INVALID)
    now = clock.now()
    words = "\0".join((header["oauth_consumer_key"], header.get("oauth_token", ""), header["oauth_timestamp"], header["oauth_nonce"]))
    nonce = hashlib.sha256(words.encode(errors="replace")).hexdigest()
    if not await request.cloud.db.write(lambda tx: first_time(tx, nonce, now, now - 2 * SKEW)):
        raise Unauthorized("The request was received before; sign it anew.")


def _opened(request: Request, sealed: str) -> str:
    try:
        return opened_text(request, sealed)
    except InvalidToken as error:
        raise Unavailable("A secret of OAuth 1 can't be decrypted: its key is missing in secrets/credential-keys.") from error
