"""What every handler may use: the store, the settings, the bus, the tokens, the wake-ups."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from pileus import clock
from pileus.api.identity.login_limits import LoginLimits
from pileus.api.identity.openid_provider import Providers
from pileus.api.request_limits import RequestLimits
from pileus.bus.local import Bus
from pileus.config import Config
from pileus.model.identity import Identity
from pileus.store.database import Database

if TYPE_CHECKING:
    from pileus.api.request import Request, Response
    from pileus.api.routes import Service
    from pileus.bus.authority import BusAuthority

Wake = Callable[[str, str], None]
"""(reconciler's name, id): look at this soon. Losing a wake-up costs time only."""


Watcher = Callable[["Request", "Response", float], None]
"""Sees each answer, with the seconds that it took, before it is sent. It never raises and never waits."""


class Tokens(Protocol):
    """Makes sense of a token's text."""

    def validate(self, text: str) -> Identity:
        """Who that is; Unauthorized when it is not a token of ours, has expired or was revoked."""
        ...


class Cloud(msgspec.Struct, kw_only=True):
    """One Cloud Manager process. `services` are those of the catalog, by prefix."""

    config: Config
    db: Database
    bus: Bus
    tokens: Tokens
    wake: Wake
    authority: "BusAuthority | None" = None  # of the message bus, when there is one
    services: "dict[str, Service]" = {}
    policy_overrides: dict[str, str] = {}
    login_limits: LoginLimits = msgspec.field(default_factory=LoginLimits)
    providers: Providers = msgspec.field(default_factory=Providers)
    request_limits: RequestLimits = msgspec.field(default_factory=RequestLimits)
    watchers: list[Watcher] = []
    started_at: float = msgspec.field(default_factory=clock.now)

    def __post_init__(self) -> None:
        if self.config.project_requests:
            self.request_limits = RequestLimits(self.config.project_requests)

    @property
    def images(self) -> Path:
        """Where image content lies, by hash."""
        return self.config.directory / "images"

    @property
    def image_stores(self) -> dict[str, Path]:
        """The directories of image content by the store's name, `images` first."""
        return self.config.image_stores


class InCloud(Protocol):
    """A request, or whoever else acts in a cloud."""

    cloud: Cloud
