"""OAuth 1: programs to which users lend some of their roles on a project."""

from typing import Any

from pileus.model.base import Resource


class Consumer(Resource, frozen=True, kw_only=True):
    """A program; `sealed_secret` is what it signs with, encrypted."""

    description: str | None = None
    sealed_secret: str
    extra: dict[str, Any] = {}


class RequestToken(Resource, frozen=True, kw_only=True):
    """What a consumer asks for. Once a user has agreed, its id, the roles and the `verifier` that it tells the consumer are set."""

    consumer_id: str
    project_id: str
    sealed_secret: str
    expires_at: float
    user_id: str | None = None
    role_ids: list[str] = []
    verifier: str | None = None


class AccessToken(Resource, frozen=True, kw_only=True):
    """What a user gave a consumer: its roles on a project, for a while."""

    consumer_id: str
    project_id: str
    user_id: str
    role_ids: list[str]
    sealed_secret: str
    expires_at: float
