"""Logins by browser: to the identity provider and back, then to the dashboard with a token. What is decided is in core/websso.py."""

import hashlib
import secrets
from urllib.parse import quote, urlsplit

import msgspec

from pileus import clock
from pileus.api.identity.auth import identify
from pileus.api.identity.documents import tokens_of
from pileus.api.identity.federated_logins import find_way, log_in_as, provider_of
from pileus.api.identity.login_scopes import Scope
from pileus.api.identity.logins import demand_enabled
from pileus.api.identity.openid_provider import Provider, read_token, with_userinfo
from pileus.api.identity.openid_settings import redirect_uri
from pileus.api.identity.receipts import unless_enough
from pileus.api.request import Request, Response
from pileus.core import openid, websso
from pileus.core.websso import SignIn
from pileus.model.errors import NotFound, Unauthorized, Unavailable
from pileus.model.federation import IdentityProvider, Protocol
from pileus.store.federated_users import use_sign_in
from pileus.store.federation import IDENTITY_PROVIDERS, PROTOCOLS
from pileus.store.sealing import seal_of

LIFE = 600.0
"""Seconds that a user may be at the provider."""
ID_TOKEN = (None, "jwt")


async def begin(request: Request) -> Response:
    """GET, POST /v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso?origin=DASHBOARD."""
    origin = _origin(request)
    idp, protocol = await find_way(request.cloud.db, request.params["idp_id"], request.params["protocol_id"])
    return await _sent_off(request, idp, protocol, origin)


async def begin_anywhere(request: Request) -> Response:
    """GET, POST /v3/auth/OS-FEDERATION/websso/{protocol_id}?origin=DASHBOARD: at the provider that has the protocol, or one of them."""
    origin = _origin(request)
    db, name = request.cloud.db, request.params["protocol_id"]
    able = "name = ? AND id IN (SELECT id FROM openid_settings) ORDER BY idp_id"
    enabled = {one.id: one for one in await IDENTITY_PROVIDERS.find(db, "enabled = 1")}
    protocols = [one for one in await PROTOCOLS.find(db, able, name) if one.idp_id in enabled]
    if not protocols:
        raise NotFound(f"No identity provider lets users in by {name}.")
    if len(protocols) == 1:
        return await _sent_off(request, enabled[protocols[0].idp_id], protocols[0], origin)
    nonce = secrets.token_urlsafe(16)
    places = {one.idp_id: _place(request, one) for one in protocols}
    return Response(200, websso.choice_page(places, nonce), websso.page_headers(nonce))


def _place(request: Request, protocol: Protocol) -> str:
    home = f"{request.service_url}/v3/auth/OS-FEDERATION/identity_providers/{quote(protocol.idp_id, safe='')}"
    return f"{home}/protocols/{quote(protocol.name, safe='')}/websso?origin={quote(request.query['origin'], safe='')}"


def _origin(request: Request) -> str:
    return websso.trusted(request.query.get("origin"), request.cloud.config.federation.trusted_dashboards)


async def _sent_off(request: Request, idp: IdentityProvider, protocol: Protocol, origin: str) -> Response:
    provider, _ = await provider_of(request, protocol)
    metadata = await provider.metadata()
    if metadata.authorization_endpoint is None:
        raise Unavailable(f"The provider of {protocol.id} logs nobody in by browser.")
    sign_in = SignIn(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        idp_id=idp.id,
        protocol_id=protocol.name,
        origin=origin,
        redirect_uri=redirect_uri(request, idp.id, protocol.name),
        expires_at=clock.now() + LIFE,
    )
    sealed = seal_of(request.cloud.config.directory).close(msgspec.json.encode(sign_in).decode())
    address = websso.address_for(metadata, provider.settings.client_id, provider.settings.scopes, sign_in)
    return Response(302, None, {"Location": address, "Set-Cookie": _cookie(sign_in, sealed, LIFE), "Cache-Control": "no-store"})


def _cookie(sign_in: SignIn, value: str, seconds: float) -> str:
    where = urlsplit(sign_in.redirect_uri)
    secure = "; Secure" if where.scheme == "https" else ""
    name = websso.cookie_name(sign_in.state)
    return f"{name}={value}; Path={where.path}; Max-Age={seconds:.0f}; HttpOnly; SameSite=Lax{secure}"


async def come_back(request: Request) -> Response:
    """GET .../callback: the user is back from the provider, with a code in the query."""
    request.notes["login"] = None  # for the audit log
    sign_in = _sign_in(request)
    if (sign_in.idp_id, sign_in.protocol_id) != (request.params["idp_id"], request.params["protocol_id"]):
        raise Unauthorized("This is the answer to another login; begin anew.")
    idp, protocol = await find_way(request.cloud.db, sign_in.idp_id, sign_in.protocol_id)
    websso.trusted(sign_in.origin, request.cloud.config.federation.trusted_dashboards)
    provider, secret = await provider_of(request, protocol)
    code = websso.check_return(await provider.metadata(), sign_in, request.query, clock.now())
    key = hashlib.sha256(sign_in.state.encode()).hexdigest()
    if not await request.cloud.db.write(lambda tx: use_sign_in(tx, key, clock.now(), sign_in.expires_at)):
        raise Unauthorized("This login was finished before; begin anew.")
    claims = await _claims(provider, secret, sign_in, code)
    login = await log_in_as(request, idp, protocol, claims)
    await demand_enabled(request, login.user)
    if await unless_enough(request, login) is not None:
        raise Unauthorized("The rules for this user want other methods of authentication beside this one; a browser has none.")
    identity = await identify(request, login, Scope())
    request.notes["login"] = identity
    nonce = secrets.token_urlsafe(16)
    page = websso.token_page(sign_in.origin, tokens_of(request).issue(identity), nonce)
    return Response(200, page, {**websso.page_headers(nonce), "Set-Cookie": _cookie(sign_in, "", 0)})


def _sign_in(request: Request) -> SignIn:
    """What this browser took along; Unauthorized when it did not begin here."""
    name = websso.cookie_name(request.query.get("state", ""))
    sealed = websso.cookie_of(request.headers.get("cookie", ""), name)
    try:
        return msgspec.json.decode(seal_of(request.cloud.config.directory).open(sealed or ""), type=SignIn)
    except (Unavailable, msgspec.DecodeError, UnicodeError) as error:
        raise Unauthorized("This browser has begun no such login; begin anew, with cookies allowed.") from error


async def _claims(provider: Provider, secret: str | None, sign_in: SignIn, code: str) -> dict[str, object]:
    """Who it is: by the ID token for the code, looked at as any other (OpenID Connect Core, section 3.1.3.7)."""
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": sign_in.redirect_uri, "code_verifier": sign_in.verifier,
    }  # fmt: skip
    given = await provider.redeem(form, secret)
    token = given.get("id_token")
    header = openid.header_of(token) if isinstance(token, str) and len(token) <= openid.LONGEST else None
    if header is None or (header.typ.lower() if header.typ else None) not in ID_TOKEN:
        raise Unauthorized("The identity provider does not say who the user is: it gave no ID token.")
    claims = await read_token(provider, str(token))
    settings = provider.settings
    openid.check_claims(claims, settings.issuer, [settings.client_id], clock.now())
    openid.check_login(claims, settings.client_id, sign_in.nonce)
    if settings.userinfo:
        claims = await with_userinfo(provider, str(given.get("access_token", "")), claims)
    return claims
