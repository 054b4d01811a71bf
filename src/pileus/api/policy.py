"""Who may do what: the predicates that the services' policy tables name.

A predicate looks at the token alone; whether a resource is the caller's is decided where it is loaded (`owned`), and what
is not visible is not found.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from pileus.api.request import Request
from pileus.core.access_rules import permitted
from pileus.model.errors import Forbidden, NotFound
from pileus.model.identity import Identity

T = TypeVar("T")
Predicate = Callable[[Identity], bool]

PREDICATES: dict[str, Predicate] = {
    "anyone": lambda who: True,  # any valid token
    "nobody": lambda who: False,
    "admin": lambda who: who.is_admin,
    "manager": lambda who: who.is_admin or (who.project_id is not None and who.has("manager")),
    "member": lambda who: who.is_admin or (who.project_id is not None and who.has("member")),
    "reader": lambda who: who.is_admin or (who.project_id is not None and who.has("reader")),
    "service": lambda who: who.is_admin or who.has("service"),
    "project_admin_or_service": lambda who: who.project_id is not None and (who.is_admin or who.has("service")),
    "project_admin": lambda who: who.project_id is not None and who.is_admin,
    "project_service": lambda who: who.project_id is not None and who.has("service"),
    "project_reader_or_service": lambda who: who.project_id is not None and (who.is_admin or who.has("service") or who.has("reader")),
    "system_admin": lambda who: who.system and who.is_admin,
    "system_reader": lambda who: who.is_admin or (who.system and who.has("reader")),
    "domain_reader": lambda who: who.is_admin or ((who.system or who.domain_id is not None) and who.has("reader")),
    "domain_manager": lambda who: who.is_admin or (who.domain_id is not None and who.has("manager")),
    "identity_validator": lambda who: who.is_admin or who.has("service") or (who.system and who.has("reader")),
    "identity_role_reader": lambda who: (
        who.is_admin or (who.system and who.has("reader")) or (who.domain_id is not None and who.has("manager"))
    ),
    "cloud_admin": lambda who: who.is_admin and who.domain_id is None,
    "cloud_reader": lambda who: who.domain_id is None and (who.is_admin or (who.system and who.has("reader"))),
    "no_domain": lambda who: who.domain_id is None,
    "scoped": lambda who: who.system or who.project_id is not None or who.domain_id is not None,
}


def allowed(request: Request, action: str) -> bool:
    """Whether the caller may do the action of the request's service. An operator's file may override the table."""
    table = request.service.policy
    name = request.cloud.policy_overrides.get(action) or table[action]
    return PREDICATES[name](request.identity)


def reaches(request: Request) -> bool:
    """Whether the access rules of the token's application credential, if there are any, let the request through."""
    rules = request.identity.access_rules
    if rules is None:
        return True
    path = request.path.lstrip("/")[len(request.service.prefix) :]
    return permitted(rules, request.service.type, request.method, path)


def require(request: Request, action: str) -> None:
    """Forbidden unless the caller may do the action."""
    if not allowed(request, action):
        raise Forbidden(f"Policy doesn't allow {action} to be performed.", action=action)


def owned(request: Request, resource: T | None, kind: str, key: str, field: str = "project_id") -> T:
    """The resource when the caller may see it: an admin all, others their project's. NotFound otherwise, in the same words."""
    visible = resource is not None and (request.identity.is_admin or _field(resource, field) == request.identity.project_id)
    if not visible or resource is None:
        raise NotFound(f"{kind} {key} could not be found.", kind=kind, id=key)
    return resource


def _field(resource: Any, field: str) -> Any:
    return getattr(resource, field)
