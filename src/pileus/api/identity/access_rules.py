"""Access rules of application credentials: made with a credential, read and removed by themselves."""

from typing import Annotated, Literal

from msgspec import Meta

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import Document, collection, found, fresh, self_link, write
from pileus.api.request import Request
from pileus.core.access_rules import Rule
from pileus.model.access_rules import AccessRule
from pileus.model.base import Model
from pileus.model.errors import Forbidden, Invalid
from pileus.store.access_rules import ACCESS_RULES, in_use, kept, rules_of
from pileus.store.database import Reader, Transaction

LONGEST = 3000
"""Characters of all rules of a credential: they travel in each of its tokens."""


class GivenRule(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule by its content, or by the id of one that is there."""

    id: str | None = None
    service: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] | None = None
    path: Annotated[str, Meta(pattern="^/", max_length=128)] | None = None


def rule_document(rule: AccessRule) -> Document:
    """A rule as a credential shows it."""
    return {"id": rule.id, "service": rule.service, "method": rule.method, "path": rule.path}


def triples(rules: list[AccessRule]) -> tuple[Rule, ...]:
    """Rules as a token carries them."""
    return tuple((rule.service, rule.method, rule.path) for rule in rules)


async def keep_rules(tx: Transaction, user_id: str, given: list[GivenRule]) -> list[str]:
    """The ids of the rules, those that are new kept."""
    rules: dict[str, AccessRule] = {}
    for one in given:
        if one.id is not None:
            rule = await ACCESS_RULES.get(tx, one.id)
            rule = found(rule if rule and rule.user_id == user_id else None, "access rule", one.id)
        elif one.service is None or one.method is None or one.path is None:
            raise Invalid("An access rule has a service, a method and a path, or the id of one that is there.", field="access_rules")
        else:
            rule = await kept(tx, AccessRule(**fresh(), user_id=user_id, service=one.service, method=one.method, path=one.path))
        rules[rule.id] = rule
    if sum(len(rule.service) + len(rule.method) + len(rule.path) for rule in rules.values()) > LONGEST:
        raise Invalid(f"The access rules of a credential have at most {LONGEST} characters together.", field="access_rules")
    return list(rules)


def _own(request: Request) -> bool:
    return request.params["user_id"] == request.identity.user_id


def _of_the_system(request: Request, role: str) -> bool:
    """An admin of a project is nobody here: only the system's people see others' rules."""
    return request.identity.system and request.identity.has(role)


async def list_rules(request: Request) -> Document:
    """GET /v3/users/{user_id}/access_rules."""
    may.demand(_own(request) or _of_the_system(request, "reader"), "identity:list_access_rules")
    rules = await rules_of(request.cloud.db, request.params["user_id"])
    for name in ("service", "method", "path"):
        if name in request.query:
            rules = [rule for rule in rules if getattr(rule, name) == request.query[name]]
    return collection(request, "access_rules", [_document(request, rule) for rule in rules])


def _document(request: Request, rule: AccessRule) -> Document:
    return {**rule_document(rule), "links": self_link(request, "users", rule.user_id, "access_rules", rule.id)}


async def _find(request: Request, db: Reader) -> AccessRule:
    key = request.params["rule_id"]
    rule = await ACCESS_RULES.get(db, key)
    return found(rule if rule and rule.user_id == request.params["user_id"] else None, "access rule", key)


async def show_rule(request: Request) -> Document:
    """GET /v3/users/{user_id}/access_rules/{rule_id}."""
    may.demand(_own(request) or _of_the_system(request, "reader"), "identity:get_access_rule")
    return {"access_rule": _document(request, await _find(request, request.cloud.db))}


async def remove_rule(request: Request) -> None:
    """DELETE /v3/users/{user_id}/access_rules/{rule_id}; Forbidden while a credential names it."""
    may.demand(_own(request) or _of_the_system(request, "admin"), "identity:delete_access_rule")
    may.lasting(request)

    async def work(tx: Transaction) -> None:
        rule = await _find(request, tx)
        if await in_use(tx, rule):
            raise Forbidden(f"The access rule {rule.id} is in use by an application credential; delete that first.")
        await ACCESS_RULES.delete(tx, rule.id)

    await write(request, work)
