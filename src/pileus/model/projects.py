"""Projects, and domains, which are projects at the top that others live in."""

from typing import Any

from pileus.model.base import Resource

DEFAULT_DOMAIN = "default"


class Project(Resource, frozen=True, kw_only=True):
    """A project, or with `is_domain` a domain.

    `domain_id` is "" for a domain. `parent_id` is the project or domain above; None for a domain.
    `extra` holds what clients sent beyond the known attributes.
    """

    name: str
    domain_id: str = ""
    parent_id: str | None = None
    is_domain: bool = False
    enabled: bool = True
    description: str = ""
    tags: list[str] = []
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
