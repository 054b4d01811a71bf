"""Logins by browser: to whom a token may be given, what the provider is asked for, and the page that takes the token there."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from pileus.core.openid import Metadata
from pileus.model.base import Model
from pileus.model.errors import Invalid, Unauthorized


class SignIn(Model, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sign-in"):
    """What a browser carries, sealed, while its user is at the provider."""

    state: str
    nonce: str
    verifier: str
    idp_id: str
    protocol_id: str
    origin: str
    redirect_uri: str
    expires_at: float


def trusted(origin: str | None, dashboards: Iterable[str]) -> str:
    """The address that asks for a token; Unauthorized unless an operator has named it, letter by letter but for the host's capitals."""
    if not origin:
        raise Invalid("The request needs the query parameter origin: the address of the dashboard that wants the token.", field="origin")
    given = _lowered(origin)
    if given is None or given not in {_lowered(one) for one in dashboards}:
        raise Unauthorized(f"{origin} is not a trusted dashboard; an operator names those in the setting federation.trusted_dashboards.")
    return origin


def _lowered(address: str) -> str | None:
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if (
        parts.scheme.lower() not in ("http", "https")
        or not parts.netloc
        or "@" in parts.netloc
        or not address.isprintable()
        or "\\" in address
    ):
        return None
    return urlunsplit(parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower()))


def cookie_name(state: str) -> str:
    """The cookie of one login: two windows have two."""
    return f"pileus-sign-in-{hashlib.sha256(state.encode()).hexdigest()[:16]}"


def cookie_of(header: str, name: str) -> str | None:
    """A cookie's value in the header Cookie."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None


def address_for(metadata: Metadata, client_id: str, scopes: Iterable[str], sign_in: SignIn) -> str:
    """Where the browser is sent: authorization code with PKCE (RFC 7636), state and nonce."""
    assert metadata.authorization_endpoint is not None
    challenge = base64.urlsafe_b64encode(hashlib.sha256(sign_in.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": sign_in.redirect_uri,
        "scope": " ".join(dict.fromkeys(["openid", *scopes])),
        "state": sign_in.state,
        "nonce": sign_in.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    joint = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{joint}{urlencode(asked)}"


def check_return(metadata: Metadata, sign_in: SignIn, said: dict[str, str], now: float) -> str:
    """The code that the provider gave; Unauthorized for another login's answer, a late one, another provider's (RFC 9207), or a refusal."""
    if not hmac.compare_digest(said.get("state", "").encode(), sign_in.state.encode()):
        raise Unauthorized("This is the answer to another login; begin anew.")
    if now >= sign_in.expires_at:
        raise Unauthorized("The login took too long; begin anew.")
    issuer = said.get("iss", None if metadata.authorization_response_iss_parameter_supported else metadata.issuer)
    if issuer != metadata.issuer:
        raise Unauthorized("Another identity provider answers than was asked.")
    if "error" in said or not said.get("code"):
        raise Unauthorized(f"The identity provider did not let the user in: {said.get('error', 'it gave no code')[:100]}.")
    return said["code"]


STYLE = "body{font-family:sans-serif;margin:3em auto;max-width:30em}"


def token_page(origin: str, token: str, nonce: str) -> bytes:
    """The page that posts the token to the dashboard, by itself where scripts run."""
    form = (
        f'<form id="sso" name="sso" action="{escape(origin)}" method="post"><input type="hidden" name="token" id="token" '
        f'value="{escape(token)}"><noscript><p>You are logged in.</p><button type="submit">Continue</button></noscript></form>'
        f'<script nonce="{nonce}">document.getElementById("sso").submit()</script>'
    )
    return _page("Logging in", form, nonce)


def choice_page(choices: dict[str, str], nonce: str) -> bytes:
    """The page with a link to each identity provider: name -> address."""
    links = "".join(f'<li><a href="{escape(address)}">{escape(name)}</a></li>' for name, address in choices.items())
    return _page("Log in by", f"<h1>Log in by</h1><ul>{links}</ul>", nonce)


def _page(title: str, body: str, nonce: str) -> bytes:
    head = f'<meta charset="utf-8"><title>{title}</title><style nonce="{nonce}">{STYLE}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>'.encode()


def page_headers(nonce: str) -> dict[str, str]:
    """Headers of such a page: nobody keeps it, frames it, or learns where it came from."""
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Content-Security-Policy": f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "base-uri 'none'; frame-ancestors 'none'",
    }
