"""Access rules: the requests that an application credential is confined to."""

from pileus.model.base import Resource


class AccessRule(Resource, frozen=True, kw_only=True):
    """One kind of request: a service's type, a method, and a path with wildcards (`core/access_rules.py`)."""

    user_id: str
    service: str
    method: str
    path: str
