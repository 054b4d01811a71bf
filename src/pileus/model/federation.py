"""Federation: identity providers, whose users may be ours, with protocols and mappings; service providers, where our users may go."""

from typing import Any

from pileus.model.base import Resource


class IdentityProvider(Resource, frozen=True, kw_only=True):
    """Who knows users; those that come from there are in the domain. `remote_ids` are its names in what it says of itself."""

    domain_id: str
    enabled: bool = False
    description: str | None = None
    authorization_ttl: int | None = None  # minutes
    remote_ids: list[str] = []


class Protocol(Resource, frozen=True, kw_only=True):
    """A way to an identity provider, with the mapping of what comes over it. `id` is made of the two names."""

    idp_id: str
    name: str
    mapping_id: str
    remote_id_attribute: str | None = None


class Mapping(Resource, frozen=True, kw_only=True):
    """How attributes of an identity provider's users become names, groups and roles here."""

    rules: list[dict[str, Any]]
    schema_version: str = "1.0"


class ServiceProvider(Resource, frozen=True, kw_only=True):
    """Another cloud to which users of this one may go."""

    auth_url: str
    sp_url: str
    enabled: bool = False
    description: str | None = None
    relay_state_prefix: str | None = None
