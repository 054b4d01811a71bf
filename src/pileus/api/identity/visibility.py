"""Who may see and change what lies in a domain: what Keystone's rules say beyond the token, about the resource."""

from pileus.api.request import Request
from pileus.model.assignments import Actor, Target
from pileus.model.errors import Forbidden
from pileus.store.assignments import ASSIGNMENTS, of_actors
from pileus.store.database import Transaction
from pileus.store.roles import expand

DELEGABLE = ("manager", "member", "reader")
"""The roles that a domain's manager may hand out."""
ABOVE = {"admin", "service"}
"""The roles that count beyond their domain."""


def sees_all(request: Request) -> bool:
    """An admin, or a reader of the system."""
    who = request.identity
    return who.is_admin or (who.system and who.has("reader"))


def reads_domain(request: Request, domain_id: str) -> bool:
    """Whether the caller may read what lies in the domain."""
    who = request.identity
    return sees_all(request) or (who.domain_id == domain_id and who.has("reader"))


def manages_domain(request: Request, domain_id: str) -> bool:
    """Whether the caller may change what lies in the domain."""
    who = request.identity
    return who.is_admin or (who.domain_id == domain_id and who.has("manager"))


def demand(allowed: bool, action: str) -> None:
    """Forbidden unless allowed. Comes before NotFound, so that who may not look can't tell what is there."""
    if not allowed:
        raise Forbidden(f"You are not authorized to perform the requested action: {action}.", action=action)


def lasting(request: Request) -> None:
    """Forbidden for a token of a trust, an application credential, an access token or an EC2 key: what was lent must not last."""
    if request.identity.is_delegated:
        raise Forbidden("A token of a trust, an application credential, an access token or an EC2 key can't do this; log in by password.")


def own_domain(request: Request) -> str | None:
    """The domain that the caller's lists are confined to; None: no bound. Forbidden for who may list nothing.

    With a token of a domain an admin lists that domain as well, though it may read and change what is elsewhere.
    """
    if sees_all(request):
        return request.identity.domain_id
    if request.identity.domain_id is None or not request.identity.has("reader"):
        raise Forbidden("You are not authorized to perform the requested action: a token of the system or of a domain is needed.")
    return request.identity.domain_id


async def demand_not_above(request: Request, tx: Transaction, actor: Actor, key: str, action: str) -> None:
    """Forbidden for others than admins when a user or group has what a domain's manager may not hand out: admin, service, the system.

    Who sets its password, or joins it, has that too.
    """
    if request.identity.is_admin:
        return
    own = await of_actors(tx, key) if actor is Actor.USER else await ASSIGNMENTS.find(tx, "actor = 'group' AND actor_id = ?", key)
    names = {role.name.lower() for role in await expand(tx, {one.role_id for one in own})}
    demand(not names & ABOVE and not any(one.target is Target.SYSTEM for one in own), action)
