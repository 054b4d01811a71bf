"""Credentials: what a user keeps for other systems (EC2 keys, TOTP seeds, certificates)."""

from typing import Any

from pileus.model.base import Resource


class Credential(Resource, frozen=True, kw_only=True):
    """A credential; `sealed_blob` is its content, encrypted."""

    user_id: str
    project_id: str | None = None
    type: str
    sealed_blob: str
    extra: dict[str, Any] = {}
