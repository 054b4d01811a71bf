"""How the provider of a protocol is asked by OpenID Connect. Keystone leaves that to the web server before it; here it is a resource.

The client's secret is kept sealed, and never shown.
"""

import ssl
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import UNSET, Meta, UnsetType, field

from pileus.api.identity.documents import Document, changes, found, fresh, write
from pileus.api.identity.identity_providers import find_protocol
from pileus.api.request import Request, Response
from pileus.core.openid import ALGORITHMS, check_address
from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.model.federation import OpenIdSettings
from pileus.store.database import Reader, Transaction
from pileus.store.federation import OPENID_SETTINGS
from pileus.store.sealing import seal_of

Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Texts = Annotated[list[Text], Meta(max_length=50)]
Pem = Annotated[str, Meta(max_length=64 << 10)]


class GivenSettings(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the provider is asked. Without `client_secret` a secret that is there stays; null takes it away."""

    issuer: Text
    client_id: Text
    client_secret: Text | UnsetType | None = UNSET
    audiences: Texts = []
    algorithms: Texts = []
    scopes: Texts = field(default_factory=lambda: ["profile", "email"])
    userinfo: bool = False
    authorities: Pem | None = None


class PutSettings(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /v3/OS-FEDERATION/identity_providers/{id}/protocols/{id}/openid."""

    openid: GivenSettings


def _document(request: Request, one: OpenIdSettings) -> Document:
    return {
        "issuer": one.issuer,
        "client_id": one.client_id,
        "has_client_secret": one.sealed_secret is not None,
        "audiences": one.audiences,
        "algorithms": one.algorithms,
        "scopes": one.scopes,
        "userinfo": one.userinfo,
        "authorities": one.authorities,
        "redirect_uri": redirect_uri(request, *one.id.split("/", 1)),
    }


def redirect_uri(request: Request, idp_id: str, protocol_id: str) -> str:
    """Where the provider sends browsers back to: it has to know this address."""
    place = f"identity_providers/{quote(idp_id, safe='')}/protocols/{quote(protocol_id, safe='')}"
    return f"{request.service_url}/v3/auth/OS-FEDERATION/{place}/callback"


async def _find(request: Request, db: Reader) -> OpenIdSettings:
    protocol = await find_protocol(request, db)
    return found(await OPENID_SETTINGS.get(db, protocol.id), "settings of OpenID Connect for the protocol", protocol.name)


async def show_settings(request: Request) -> Document:
    """GET /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/openid."""
    return {"openid": _document(request, await _find(request, request.cloud.db))}


async def put_settings(request: Request) -> Response:
    """PUT /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/openid."""
    body: GivenSettings = request.body.openid
    check_address(body.issuer, "issuer")
    if unknown := sorted(set(body.algorithms) - set(ALGORITHMS)):
        raise Invalid(f"Signatures by {unknown[0]} are not accepted; those that are: {', '.join(ALGORITHMS)}.", field="algorithms")
    _check_authorities(body.authorities)
    sent: dict[str, Any] = changes(body)
    secret = sent.pop("client_secret", UNSET)
    if secret is not UNSET:
        sent["sealed_secret"] = None if secret is None else seal_of(request.cloud.config.directory).close(secret)

    async def work(tx: Transaction) -> tuple[OpenIdSettings, int]:
        protocol = await find_protocol(request, tx)
        known = await OPENID_SETTINGS.get(tx, protocol.id)
        if known is not None:
            return await OPENID_SETTINGS.update(tx, known, **sent), 200
        return await OPENID_SETTINGS.insert(tx, OpenIdSettings(**fresh(protocol.id), **sent)), 201

    one, status = await write(request, work)
    return Response(status, {"openid": _document(request, one)})


def _check_authorities(pem: str | None) -> None:
    if pem is None:
        return
    try:
        if ssl.create_default_context(cadata=pem).cert_store_stats()["x509"]:
            return
    except (ssl.SSLError, ValueError):
        pass
    raise Invalid("authorities holds no certificate in PEM.", field="authorities")


async def remove_settings(request: Request) -> None:
    """DELETE /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/openid: nobody logs in by it any more."""

    async def work(tx: Transaction) -> None:
        await OPENID_SETTINGS.delete(tx, (await _find(request, tx)).id)

    await write(request, work)
