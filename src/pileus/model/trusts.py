"""Trusts: a user lets another act on a project with some of its roles."""

from pileus.model.base import Resource


class Trust(Resource, frozen=True, kw_only=True):
    """A trust. `remaining_uses` None: as often as wanted. `redelegation_count`: how many times in a row it may be handed on."""

    trustor_user_id: str
    trustee_user_id: str
    project_id: str
    impersonation: bool
    role_ids: list[str] = []
    expires_at: float | None = None
    remaining_uses: int | None = None
    redelegation_count: int = 0
    redelegated_trust_id: str | None = None
