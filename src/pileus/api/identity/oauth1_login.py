"""The login of a consumer of OAuth 1: it signs the request with what a user gave it, and no password is sent."""

from pileus import clock
from pileus.api.identity.logins import Login
from pileus.api.identity.oauth1_requests import demand_right, signed_request
from pileus.api.identity.tokens import INVALID
from pileus.api.request import Request
from pileus.model.errors import Unauthorized
from pileus.store.oauth1 import ACCESS_TOKENS
from pileus.store.users import USERS


async def by_oauth1(request: Request, _: object) -> Login:
    """As the user who gave the access token, with the roles that it gave."""
    signed = signed_request(request, "oauth_token")
    token = await ACCESS_TOKENS.get(request.cloud.db, signed.header["oauth_token"])
    await demand_right(request, signed, token, with_token=True)
    user = await USERS.get(request.cloud.db, token.user_id) if token else None
    if token is None or user is None or token.expires_at <= clock.now():
        raise Unauthorized(INVALID)
    return Login(user=user, methods=["oauth1"], latest=token.expires_at, access_token=token)
