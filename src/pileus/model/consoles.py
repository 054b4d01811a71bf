"""Access to a console of a server."""

from pileus.model.base import Model
from pileus.model.guests import ConsoleKind


class ConsoleToken(Model, frozen=True, kw_only=True):
    """A console that may be opened until `expires_at` by whoever knows the token, of which `id` is the SHA-256."""

    id: str
    server_id: str
    host: str
    kind: ConsoleKind
    created_at: float
    expires_at: float
