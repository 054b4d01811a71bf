"""Roles."""

from typing import Any

from pileus.model.base import Resource


class Role(Resource, frozen=True, kw_only=True):
    """A role. `domain_id` "" is a global role; a domain's own role never stands in a token, only what it implies does."""

    name: str
    domain_id: str = ""
    description: str | None = None
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
