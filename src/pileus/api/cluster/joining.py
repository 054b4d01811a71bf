"""Hosts that join: tokens, admission to the message bus, images' content."""

import re
import secrets
from functools import partial
from typing import Any

import pileus
from pileus import clock
from pileus.api.image import stores
from pileus.api.image.content import read
from pileus.api.request import Request, Response
from pileus.bus.authority import BusAuthority
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid, NotFound
from pileus.store import admissions, contents, join_tokens
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS, is_up

LONGEST_LIFE = 30 * 86400.0
CLOCK_TOLERANCE = 60.0
"""Seconds by which a host's clock may differ from the cloud's: tokens, leases and reports are compared by time."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


class NewToken(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /cluster/v1/tokens. `lifetime` in seconds."""

    cluster: str = "default"
    lifetime: float = 3600.0


class Join(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /cluster/v1/join. `time` is the host's clock, `public_key` that of its NATS user."""

    token: str
    host: str
    public_key: str
    version: str
    time: float
    cluster: str | None = None

    def __repr__(self) -> str:
        return f"Join(host={self.host!r})"


def authority_of(request: Request) -> BusAuthority:
    """That of the cloud's bus; Conflict when it has none."""
    if request.cloud.authority is None or request.cloud.config.bus is None:
        raise Conflict("This cloud has no message bus, so that no other host can join it. Start it with --bus, or by: pileus up --hosts N")
    return request.cloud.authority


async def create_token(request: Request) -> dict[str, Any]:
    """POST /cluster/v1/tokens: a new join token; its text is shown this once."""
    authority_of(request)
    body: NewToken = request.body
    if not 0 < body.lifetime <= LONGEST_LIFE:
        raise Invalid(f"lifetime: {body.lifetime:g} is not between 0 and {LONGEST_LIFE:g} seconds.")
    check_name("cluster", body.cluster)
    token, now = secrets.token_urlsafe(24), clock.now()
    made = await request.cloud.db.write(lambda tx: join_tokens.insert(tx, token, body.cluster, now + body.lifetime, now))
    return {"token": token, "id": made.id, "cluster": made.cluster, "expires_at": made.expires_at}


async def join(request: Request) -> dict[str, Any]:
    """POST /cluster/v1/join: a host shows its token and gets its claims on the message bus."""
    authority = authority_of(request)
    config = request.cloud.config
    body: Join = request.body
    now = clock.now()
    check_name("host", body.host)
    if body.version != pileus.__version__:
        raise Conflict(f"This cloud runs pileus {pileus.__version__}, the host {body.version}. Install the same version on both.")
    if abs(body.time - now) > CLOCK_TOLERANCE:
        raise Conflict(
            f"The clock of {body.host} is {abs(body.time - now):.0f} s {'ahead of' if body.time > now else 'behind'} the cloud's. "
            "Set it, by NTP for instance (apt install chrony)."
        )
    claims = authority.admit(body.host, body.public_key)

    async def work(tx: Transaction) -> str:
        used = await join_tokens.use(tx, body.token, body.cluster, f"{body.host} {body.public_key}", now)
        known = await HOSTS.first(tx, "name = ?", body.host)
        if known is not None and is_up(known, now, config.node_silence) and not used.used_at:
            raise Conflict(f"A host named {body.host} is in this cloud and up. Choose another name with PILEUS_HOST, or remove that one.")
        if known is not None and known.cluster != used.cluster:
            raise Conflict(f"The host {body.host} belongs to the cluster {known.cluster}; this token is for {used.cluster}.")
        await admissions.admit(tx, body.host, body.public_key, used.cluster, now, fresh=used.used_at is None)
        return used.cluster

    cluster = await request.cloud.db.write(work)
    url = str(config.bus)
    trusted = authority.ca_certificate if url.startswith("tls:") else ""
    return {"cloud": authority.cloud, "cluster": cluster, "bus": url, "authority": trusted, "claims": claims}


async def content(request: Request) -> Response:
    """GET /cluster/v1/content/{sha256}: an image's content, for who shows an address that a manager has signed."""
    authority = authority_of(request)
    sha = request.params["sha256"]
    if not authority.content_allowed(sha, request.query.get("until", ""), request.query.get("signature", ""), clock.now()):
        raise Forbidden("This address is not signed by this cloud, or is good no more.")
    path = stores.anywhere(request.cloud, sha)
    if path is None:
        raise NotFound(f"There is no content {sha} here.")
    contents.check(path, partial(stores.seal, request.cloud))
    size = contents.size_of(path)
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    return Response(200, read(request.cloud, path, 0, size), headers)


def check_name(field: str, name: str) -> None:
    """Invalid when it is not a name that can stand in a DNS label or two."""
    if not re.fullmatch(NAME, name):
        raise Invalid(f"{field}: {name[:80]!r} has other characters than letters, digits, '.', '_' and '-', or more than 63.")
