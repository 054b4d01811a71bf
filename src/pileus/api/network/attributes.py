"""What an attribute of a resource is, and how a body is read by a resource's table of them."""

from collections.abc import Callable
from typing import Any

from pileus.api.network.validators import InvalidValue
from pileus.api.policy import allowed
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Forbidden, Invalid

Parse = Callable[[Any], Any]


class Absent:
    """The default of an attribute that has none: it stays out of the values unless the client gives it."""


class Required:
    """The default of an attribute that a POST must give."""


class Attribute(Model, frozen=True, kw_only=True):
    """One attribute. `parse` None: read-only. `column` is its field in the model, by which lists filter and sort; None: it has none.

    `admin_view`: shown to administrators alone. `guarded`: whoever gives it needs the policy `create_<resource>:<name>` or `update_...`.
    """

    name: str
    parse: Parse | None = None
    post: bool = True
    put: bool = True
    default: Any = Absent
    column: str | None = None
    admin_view: bool = False
    guarded: bool = False


def given(name: str, parse: Parse, **rest: Any) -> Attribute:
    """An attribute that a client may give; its column has its name unless told."""
    return Attribute(name=name, parse=parse, **{"column": name, **rest})


def shown(name: str, column: str | None = None, **rest: Any) -> Attribute:
    """An attribute that is only read."""
    return Attribute(name=name, post=False, put=False, column=column, **rest)


BASE = [
    shown("id", "id"),
    shown("created_at", "created_at"),
    shown("updated_at", "updated_at"),
    shown("revision_number", "generation"),
]
"""What every resource has beside its project."""


def index(attributes: list[Attribute]) -> dict[str, Attribute]:
    """The table by name."""
    return {one.name: one for one in attributes}


def parse_body(request: Request, kind: str, table: dict[str, Attribute], body: Any, creating: bool) -> dict[str, Any]:
    """The values of a body: checked, converted, with the defaults of what is not there when creating. Errors are Neutron's."""
    if not isinstance(body, dict):
        raise Invalid(f"Invalid input for {kind}. Reason: '{body}' is not a dictionary.")
    values: dict[str, Any] = dict(body)  # pyright: ignore[reportUnknownArgumentType]
    if "tenant_id" in values:
        project = values.pop("tenant_id")
        if values.setdefault("project_id", project) != project:
            raise Invalid("'project_id' and 'tenant_id' do not match")
    unknown = sorted(set(values) - set(table))
    if unknown:
        raise Invalid(f"Unrecognized attribute(s) '{', '.join(unknown)}'", field=unknown[0])
    parsed = {name: _parse(table[name], value, creating) for name, value in values.items()}
    action = f"{'create' if creating else 'update'}_{kind}"
    for name in parsed:
        _check_guard(request, table[name], action, parsed[name])
    if creating:
        for one in table.values():
            if one.name not in parsed and one.default is Required:
                raise Invalid(f"Failed to parse request. Required attribute '{one.name}' not specified", field=one.name)
            if one.name not in parsed and one.default is not Absent:
                parsed[one.name] = one.default
    return parsed


def _parse(attribute: Attribute, value: Any, creating: bool) -> Any:
    if creating and (attribute.parse is None or not attribute.post):
        raise Invalid(f"Attribute '{attribute.name}' not allowed in POST", field=attribute.name)
    if not creating and (attribute.parse is None or not attribute.put):
        raise Invalid(f"Cannot update read-only attribute {attribute.name}", field=attribute.name)
    assert attribute.parse is not None
    try:
        return attribute.parse(value)
    except InvalidValue as error:
        raise Invalid(f"Invalid input for {attribute.name}. Reason: {error}.", field=attribute.name) from error


def _check_guard(request: Request, attribute: Attribute, action: str, value: Any) -> None:
    name = f"{action}:{attribute.name}"
    if not attribute.guarded or value == attribute.default or request.service.policy.get(name) == NETWORK_OWNER:
        return
    if not allowed(request, name):
        raise refused(name)


NETWORK_OWNER = "network_owner"
"""The rule that no predicate can say: an administrator, or who owns the port's network. Hooks check it, with `check_network_owner`."""


def check_network_owner(request: Request, action: str, names: list[str], owner: str) -> None:
    """Forbidden when one of these attributes is given by who neither is an administrator nor owns the network."""
    for name in names:
        rule = f"{action}:{name}"
        if request.service.policy.get(rule) == NETWORK_OWNER and not (request.identity.is_admin or request.identity.project_id == owner):
            raise refused(rule)


def refused(rule: str) -> Forbidden:
    """Neutron's words for what the policy forbids."""
    return Forbidden(f"(rule:{rule}) is disallowed by policy", action=rule, type="PolicyNotAuthorized")
