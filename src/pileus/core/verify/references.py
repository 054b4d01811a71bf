"""References that the database itself does not keep: each row of one table names a row of another. The store finds those that do not."""

from collections.abc import Iterable

from pileus.core.verify.invariant import Finding, Findings, Invariant
from pileus.core.verify.repairs import DeleteRow
from pileus.core.verify.world import World
from pileus.model.base import Model


class Reference(Model, frozen=True, kw_only=True):
    """`table.column` is the `to_column` of a row of `to`. `key` are the columns that name a row; `where` leaves rows out, with the table's
    own name before its columns. `owned`: the row is a user's, so that nothing but evidence is offered, with `remedy`.
    """

    name: str
    sentence: str
    table: str
    column: str
    to: str
    to_column: str = "id"
    key: tuple[str, ...] = ("id",)
    where: str = ""
    owned: bool = False
    remedy: str = ""

    def findings(self, world: World) -> Findings:
        """What the store found."""
        for values, names in world.dangling.get(self.name, []):
            key = tuple(zip(self.key, values, strict=True))
            words = ", ".join(f"{column} {value}" for column, value in key)
            remedy = f"; {self.remedy}" if self.remedy else ""
            yield Finding(
                evidence=f"{self.table} with {words}: {self.column} {names} is not in {self.to}{remedy}",
                repair=None if self.owned else DeleteRow(table=self.table, key=key, why=f"its {self.column} {names} is gone"),
            )

    def invariant(self) -> Invariant:
        """The reference as a rule like the others."""
        return Invariant(name=self.name, sentence=self.sentence, check=self._check(), repairable=not self.owned)

    def _check(self) -> "_Check":
        return _Check(reference=self)


class _Check(Model, frozen=True, kw_only=True):
    reference: Reference

    def __call__(self, world: World) -> Iterable[Finding]:
        return self.reference.findings(world)


ASSIGNED = ("actor", "actor_id", "target", "target_id", "role_id", "inherited")

REFERENCES = [
    Reference(
        name="servers_have_actions", sentence="Every server has a record of what was asked of it.",
        table="servers", column="id", to="server_actions", to_column="server_id", where="servers.removed_at IS NULL", owned=True,
    ),
    Reference(
        name="actions_have_servers", sentence="Every action is of a server.",
        table="server_actions", column="server_id", to="servers",
    ),
    Reference(
        name="steps_have_actions", sentence="Every step is of an action.",
        table="server_action_events", column="action_id", to="server_actions",
    ),
    Reference(
        name="decisions_have_servers", sentence="Every decision of Placement that is kept is about a server.",
        table="placement_decisions", column="server_id", to="servers",
    ),
    Reference(
        name="members_have_groups", sentence="Every member of a server group has its group.",
        table="server_group_members", column="group_id", to="server_groups", key=("server_id",),
    ),
    Reference(
        name="members_have_servers", sentence="Every member of a server group is a server.",
        table="server_group_members", column="server_id", to="servers", key=("server_id",),
    ),
    Reference(
        name="device_tags_have_servers", sentence="Every tag of a network card is of a server.",
        table="device_tags", column="server_id", to="servers", key=("port_id",),
    ),
    Reference(
        name="console_tokens_have_servers", sentence="Every token of a console is of a server.",
        table="console_tokens", column="server_id", to="servers",
    ),
    Reference(
        name="moves_have_records_of_servers", sentence="Every migration that is not over is of a server.",
        table="server_migrations", column="server_id", to="servers", where="server_migrations.step <> 'done'", owned=True,
        remedy="start the control plane: it ends the migration",
    ),
    Reference(
        name="accesses_have_flavors", sentence="Every access to a flavor is to one that exists.",
        table="flavor_access", column="flavor_id", to="flavors", key=("flavor_id", "project_id"),
    ),
    Reference(
        name="subnets_have_their_pools", sentence="The subnet pool of a subnet exists.",
        table="subnets", column="subnetpool_id", to="subnet_pools", owned=True,
    ),
    Reference(
        name="assignments_have_roles", sentence="Every assignment is of a role that exists.",
        table="assignments", column="role_id", to="roles", key=ASSIGNED,
    ),
    Reference(
        name="assignments_have_users", sentence="Every assignment to a user has its user.",
        table="assignments", column="actor_id", to="users", key=ASSIGNED, where="assignments.actor = 'user'",
    ),
    Reference(
        name="assignments_have_groups", sentence="Every assignment to a group has its group.",
        table="assignments", column="actor_id", to="user_groups", key=ASSIGNED, where="assignments.actor = 'group'",
    ),
    Reference(
        name="assignments_have_targets", sentence="Every assignment is on a project or domain that exists.",
        table="assignments", column="target_id", to="projects", key=ASSIGNED, where="assignments.target <> 'system'",
    ),
    Reference(
        name="memberships_have_groups", sentence="Every member of a group has its group.",
        table="group_members", column="group_id", to="user_groups", key=("group_id", "user_id"),
    ),
    Reference(
        name="memberships_have_users", sentence="Every member of a group is a user.",
        table="group_members", column="user_id", to="users", key=("group_id", "user_id"),
    ),
    Reference(
        name="implications_have_priors", sentence="Every implication is by a role that exists.",
        table="implied_roles", column="prior_id", to="roles", key=("prior_id", "implied_id"),
    ),
    Reference(
        name="implications_have_roles", sentence="Every implication is of a role that exists.",
        table="implied_roles", column="implied_id", to="roles", key=("prior_id", "implied_id"),
    ),
    Reference(
        name="application_credentials_have_users", sentence="Every application credential has its user.",
        table="application_credentials", column="user_id", to="users",
    ),
    Reference(
        name="application_credentials_have_projects", sentence="Every application credential is for a project that exists.",
        table="application_credentials", column="project_id", to="projects",
    ),
    Reference(
        name="credentials_have_users", sentence="Every credential has its user.",
        table="credentials", column="user_id", to="users",
    ),
    Reference(
        name="access_rules_have_users", sentence="Every access rule has its user.",
        table="access_rules", column="user_id", to="users",
    ),
    Reference(
        name="trusts_have_trustors", sentence="Every trust is by a user that exists.",
        table="trusts", column="trustor_user_id", to="users",
    ),
    Reference(
        name="trusts_have_trustees", sentence="Every trust is to a user that exists.",
        table="trusts", column="trustee_user_id", to="users",
    ),
    Reference(
        name="trusts_have_projects", sentence="Every trust is on a project that exists.",
        table="trusts", column="project_id", to="projects",
    ),
    Reference(
        name="old_passwords_have_users", sentence="Every password that is remembered was a user's.",
        table="password_history", column="user_id", to="users", key=("user_id", "set_at"),
    ),
    Reference(
        name="endpoints_have_services", sentence="Every endpoint is of a service that exists.",
        table="catalog_endpoints", column="service_id", to="catalog_services", owned=True, remedy="delete the endpoint",
    ),
    Reference(
        name="endpoints_have_regions", sentence="The region of an endpoint exists.",
        table="catalog_endpoints", column="region_id", to="regions", owned=True, remedy="set its region anew",
    ),
    Reference(
        name="regions_have_parents", sentence="The region above a region exists.",
        table="regions", column="parent_region_id", to="regions", where="regions.parent_region_id <> ''", owned=True,
        remedy="set its parent anew",
    ),
    Reference(
        name="passcodes_have_credentials", sentence="Every one-time password that was used is of a credential.",
        table="passcode_uses", column="credential_id", to="credentials", key=("credential_id",),
    ),
    Reference(
        name="access_tokens_have_consumers", sentence="Every access token is of a consumer that exists.",
        table="oauth_access_tokens", column="consumer_id", to="oauth_consumers",
    ),
    Reference(
        name="access_tokens_have_users", sentence="Every access token is of a user that exists.",
        table="oauth_access_tokens", column="user_id", to="users",
    ),
    Reference(
        name="request_tokens_have_consumers", sentence="Every request token is of a consumer that exists.",
        table="oauth_request_tokens", column="consumer_id", to="oauth_consumers",
    ),
    Reference(
        name="identity_providers_have_domains", sentence="Every identity provider has a domain for its users.",
        table="identity_providers", column="domain_id", to="projects", owned=True, remedy="delete the identity provider",
    ),
    Reference(
        name="protocols_have_identity_providers", sentence="Every protocol is of an identity provider that exists.",
        table="federation_protocols", column="idp_id", to="identity_providers",
    ),
    Reference(
        name="openid_settings_have_protocols", sentence="Every way to ask a provider of OpenID Connect is a protocol's.",
        table="openid_settings", column="id", to="federation_protocols",
    ),
    Reference(
        name="federated_users_have_users", sentence="Everybody who is known at an identity provider is a user here.",
        table="federated_users", column="user_id", to="users", key=("idp_id", "protocol_id", "unique_id"),
    ),
    Reference(
        name="federated_users_have_providers", sentence="Everybody who is known elsewhere is known at an identity provider that exists.",
        table="federated_users", column="idp_id", to="identity_providers", key=("idp_id", "protocol_id", "unique_id"),
    ),
    Reference(
        name="expiring_memberships_have_users", sentence="Every membership that an identity provider has said is of a user that exists.",
        table="expiring_memberships", column="user_id", to="users", key=("user_id", "group_id", "idp_id"),
    ),
    Reference(
        name="expiring_memberships_have_groups", sentence="Every membership that an identity provider has said is in a group that exists.",
        table="expiring_memberships", column="group_id", to="user_groups", key=("user_id", "group_id", "idp_id"),
    ),
    Reference(
        name="associations_have_policies", sentence="Every document of policy that an endpoint or service has exists.",
        table="policy_associations", column="policy_id", to="catalog_policies", key=("endpoint_id", "service_id", "region_id"),
    ),
    Reference(
        name="options_have_domains", sentence="Every option of a domain has its domain.",
        table="domain_options", column="domain_id", to="projects", key=("domain_id", "section", "option"),
    ),
    Reference(
        name="limits_are_registered", sentence="Every limit of a project or domain is of a registered limit.",
        table="unified_limits", column="registered_limit_id", to="registered_limits",
    ),
    Reference(
        name="limits_have_projects", sentence="Every limit of a project has its project.",
        table="unified_limits", column="project_id", to="projects",
    ),
    Reference(
        name="limits_have_domains", sentence="Every limit of a domain has its domain.",
        table="unified_limits", column="domain_id", to="projects",
    ),
    Reference(
        name="project_endpoints_have_projects", sentence="Every endpoint that was given to a project has its project.",
        table="project_endpoints", column="project_id", to="projects", key=("project_id", "endpoint_id"),
    ),
    Reference(
        name="endpoint_groups_have_projects", sentence="Every endpoint group that was given to a project has its project.",
        table="endpoint_group_projects", column="project_id", to="projects", key=("endpoint_group_id", "project_id"),
    ),
    Reference(
        name="endpoint_groups_are_there", sentence="Every endpoint group that was given to a project exists.",
        table="endpoint_group_projects", column="endpoint_group_id", to="endpoint_groups", key=("endpoint_group_id", "project_id"),
    ),
]  # fmt: skip

INVARIANTS = [one.invariant() for one in REFERENCES]
