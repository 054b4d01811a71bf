"""Invariants of identity: the trees of projects, roles and regions, and what was delegated."""

from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.placement import cyclic
from pileus.core.verify.repairs import ForgetRole
from pileus.core.verify.world import World


def projects_have_parents(world: World) -> Findings:
    """A project is below another of its domain, or below the domain itself."""
    for project in world.projects:
        parent = world.project_of.get(project.parent_id or "")
        if project.is_domain:
            if project.parent_id is not None:
                yield Finding(evidence=f"domain {project.id} ({project.name}) is below {project.parent_id}")
        elif project.domain_id not in world.domains:
            yield Finding(evidence=f"project {project.id} ({project.name}) is in domain {project.domain_id}, which is gone")
        elif parent is None or (parent.id if parent.is_domain else parent.domain_id) != project.domain_id:
            yield Finding(evidence=f"project {project.id} ({project.name}) is below {project.parent_id}, which is not in its domain")


def projects_have_no_cycle(world: World) -> Findings:
    """Going up from a project ends at its domain."""
    for top in cyclic({one.id: one.parent_id for one in world.projects}):
        yield Finding(evidence=f"project {top} is below itself")


def users_have_domains(world: World) -> Findings:
    """A user is of a domain."""
    for user in world.users:
        if user.domain_id not in world.domains:
            yield Finding(evidence=f"user {user.id} ({user.name}) is in domain {user.domain_id}, which is gone; delete the user")


def groups_have_domains(world: World) -> Findings:
    """A group is of a domain."""
    for group in world.groups:
        if group.domain_id not in world.domains:
            yield Finding(evidence=f"group {group.id} ({group.name}) is in domain {group.domain_id}, which is gone; delete the group")


def roles_have_domains(world: World) -> Findings:
    """A role is everybody's, or a domain's."""
    for role in world.roles:
        if role.domain_id and role.domain_id not in world.domains:
            yield Finding(evidence=f"role {role.id} ({role.name}) is in domain {role.domain_id}, which is gone; delete the role")


def default_projects_are_no_domains(world: World) -> Findings:
    """A login without a scope is for a project. (One that is not there is allowed, as in Keystone.)"""
    for user in world.users:
        if user.default_project_id in world.domains:
            yield Finding(evidence=f"user {user.id} ({user.name}) has domain {user.default_project_id} as its default project")


def roles_imply_no_cycle(world: World) -> Findings:
    """A role does not imply itself."""
    implied: dict[str, list[str]] = {}
    for prior, following in world.implied_roles:
        implied.setdefault(prior, []).append(following)
    for role in _on_cycles(implied):
        yield Finding(evidence=f"role {role} implies itself")


def _on_cycles(edges: dict[str, list[str]]) -> list[str]:
    """Nodes that are left when those without a way out are taken away, again and again; each edge is looked at once."""
    waiting = {node: len(following) for node, following in edges.items()}
    before: dict[str, list[str]] = {}
    for node, following in edges.items():
        for one in following:
            before.setdefault(one, []).append(node)
    free = [node for node in before if node not in waiting]
    while free:
        for node in before.get(free.pop(), []):
            waiting[node] -= 1
            if not waiting[node]:
                free.append(node)
    return sorted(node for node, left in waiting.items() if left)


def trusts_hang_together(world: World) -> Findings:
    """A trust that was made of another one has that one, on the same project."""
    known = {one.id: one for one in world.trusts}
    for trust in world.trusts:
        if trust.redelegated_trust_id is None:
            continue
        origin = known.get(trust.redelegated_trust_id)
        if origin is None or origin.project_id != trust.project_id:
            yield Finding(
                evidence=f"trust {trust.id} was made of {trust.redelegated_trust_id}, which is gone or on another project; delete it"
            )


def application_credentials_give_known_roles(world: World) -> Findings:
    """What an application credential gives exists. (A trust that gives a role which is gone is void as a whole, as in Keystone.)"""
    known = {one.id for one in world.roles}
    for credential in world.application_credentials:
        for role in credential.role_ids:
            if role not in known:
                yield Finding(
                    evidence=f"application credential {credential.id} gives role {role}, which is gone",
                    repair=ForgetRole(credential_id=credential.id, role_id=role),
                )


def application_credentials_have_their_rules(world: World) -> Findings:
    """A bound that is not there would let everything through, or nothing."""
    for credential in world.application_credentials:
        for rule in credential.access_rule_ids or []:
            if rule not in world.access_rules:
                yield Finding(evidence=f"application credential {credential.id} is bound by access rule {rule}, which is gone; delete it")


def regions_have_no_cycle(world: World) -> Findings:
    """Going up from a region ends."""
    for top in cyclic(world.regions):
        yield Finding(evidence=f"region {top} is below itself")


INVARIANTS = invariants(
    (projects_have_parents, "A project is below another of its domain, or below the domain."),
    (projects_have_no_cycle, "No project is below itself."),
    (users_have_domains, "A user's domain exists."),
    (groups_have_domains, "A group's domain exists."),
    (roles_have_domains, "A domain's role has its domain."),
    (default_projects_are_no_domains, "A user's default project is no domain."),
    (roles_imply_no_cycle, "No role implies itself."),
    (trusts_hang_together, "A trust that was made of another one has that one."),
    (application_credentials_give_known_roles, "The roles that an application credential gives exist."),
    (application_credentials_have_their_rules, "The access rules of an application credential exist."),
    (regions_have_no_cycle, "No region is below itself."),
    repairable=(application_credentials_give_known_roles,),
)
