"""Federation: identity providers, whose users may be ours, with protocols and mappings; service providers, where our users may go."""

from typing import Any

from pileus.model.base import Model, Resource


class FederationSettings(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator sets for logins of users of identity providers, beside what stands in the store."""

    trusted_dashboards: list[str] = []  # addresses that are given a token after a login by browser
    default_authorization_ttl: int = 0  # minutes for which groups count beyond the token, of identity providers that don't say it


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


class OpenIdSettings(Resource, frozen=True, kw_only=True):
    """How a protocol's provider is asked, by OpenID Connect. `id` is the protocol's. The secret is sealed."""

    issuer: str
    client_id: str
    sealed_secret: str | None = None
    audiences: list[str] = []  # of tokens that are accepted; none: the client's id
    algorithms: list[str] = []  # of signatures that are accepted; none: those that need the provider's private key
    scopes: list[str] = []  # that a browser asks for beside openid
    userinfo: bool = False  # what stands in no token is asked for
    authorities: str | None = None  # PEM of who signed the provider's certificate; None: who the machine trusts


class FederatedUser(Model, frozen=True, kw_only=True):
    """That a user here is somebody there. The three names of somebody are unique together. `shadow`: the first login made the user."""

    idp_id: str
    protocol_id: str
    unique_id: str
    user_id: str
    shadow: bool = False


class ExpiringMembership(Model, frozen=True, kw_only=True):
    """That a user is in a group because its identity provider said so when it logged in last."""

    user_id: str
    group_id: str
    idp_id: str
    expires_at: float


class ServiceProvider(Resource, frozen=True, kw_only=True):
    """Another cloud to which users of this one may go."""

    auth_url: str
    sp_url: str
    enabled: bool = False
    description: str | None = None
    relay_state_prefix: str | None = None
