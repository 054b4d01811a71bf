"""Users."""

from typing import Any

from pileus.model.base import Resource


class User(Resource, frozen=True, kw_only=True):
    """Who can log in. `password_hash` is argon2id's text; None: no password, so no login by one."""

    name: str
    domain_id: str
    enabled: bool = True
    default_project_id: str | None = None
    password_hash: str | None = None
    password_set_at: float | None = None
    password_expires_at: float | None = None
    last_active_at: float | None = None
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
