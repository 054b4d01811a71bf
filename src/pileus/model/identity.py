"""Who makes a request: what a validated token says."""

from pileus.model.base import Model


class FederatedLogin(Model, frozen=True, kw_only=True):
    """Where a user of an identity provider came from, and the groups that were said then."""

    idp_id: str
    protocol_id: str
    group_ids: tuple[str, ...] = ()


class Identity(Model, frozen=True, kw_only=True):
    """A validated token. One scope at most: project, domain, or system; none when unscoped. Role names are lower case."""

    user_id: str
    user_name: str = ""
    user_domain_id: str = "default"
    user_domain_name: str = ""
    project_id: str | None = None
    project_name: str | None = None
    project_domain_id: str | None = None
    project_domain_name: str | None = None
    domain_id: str | None = None
    domain_name: str | None = None
    system: bool = False
    roles: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ()
    audit_ids: tuple[str, ...] = ()
    issued_at: float = 0.0
    expires_at: float = 0.0
    application_credential_id: str | None = None
    access_rules: tuple[tuple[str, str, str], ...] | None = None  # service, method, path; None: no bound
    access_token_id: str | None = None  # of OAuth 1
    trust_id: str | None = None
    federation: FederatedLogin | None = None
    trust_user_id: str | None = None  # the other party: who acts where user_id is the trustor, else the trustor

    def has(self, role: str) -> bool:
        """Whether the token carries the role (implied roles were added when it was made)."""
        return role in self.roles

    @property
    def is_delegated(self) -> bool:
        """Whether it is of what a user has lent: it must not make more of its kind, or anything that lasts longer."""
        lent = self.trust_id or self.application_credential_id or self.access_token_id
        return bool(lent) or "ec2credential" in self.methods

    @property
    def is_admin(self) -> bool:
        """Whether it carries `admin` in any scope: as with Nova's and Neutron's admin_or_owner rules, an admin is the cloud's."""
        return "admin" in self.roles
