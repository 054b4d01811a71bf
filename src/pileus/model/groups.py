"""Groups of users of one domain."""

from typing import Any

from pileus.model.base import Resource


class Group(Resource, frozen=True, kw_only=True):
    """A group; its members stand in a table of their own."""

    name: str
    domain_id: str
    description: str = ""
    extra: dict[str, Any] = {}
