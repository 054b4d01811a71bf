"""Application credentials: a secret with a part of its owner's roles on one project."""

from pileus.model.base import Resource


class ApplicationCredential(Resource, frozen=True, kw_only=True):
    """A credential; `role_ids` are what it grants. `unrestricted`: its tokens may make more of its kind."""

    name: str
    user_id: str
    project_id: str
    secret_hash: str
    description: str | None = None
    role_ids: list[str] = []
    expires_at: float | None = None
    unrestricted: bool = False
    access_rule_ids: list[str] | None = None  # None: no bound
