"""The grammar of query parameters: which there are since which version, and what their values say."""

import re
import uuid
from collections.abc import Iterable

from pileus.api.request import Request, Version
from pileus.model.candidates import TraitSets
from pileus.model.errors import Invalid

BAD = "Invalid query string parameters: "
PROVIDERS: dict[str, Version] = {
    "name": (1, 0), "uuid": (1, 0), "member_of": (1, 3), "resources": (1, 4), "in_tree": (1, 14), "required": (1, 18),
}  # fmt: skip
TRAITS: dict[str, Version] = {"name": (1, 6), "associated": (1, 6)}
USAGES: dict[str, Version] = {"project_id": (1, 9), "user_id": (1, 9), "consumer_type": (1, 38)}
CANDIDATES: dict[str, Version] = {
    "resources": (1, 10), "limit": (1, 16), "required": (1, 17), "member_of": (1, 21), "group_policy": (1, 25), "in_tree": (1, 31),
    "root_required": (1, 35), "same_subtree": (1, 36),
}  # fmt: skip
GROUPED = ("resources", "required", "member_of", "in_tree")
SUFFIXES: list[tuple[Version, str]] = [((1, 33), "[a-zA-Z0-9_-]{1,64}"), ((1, 25), "[1-9][0-9]*")]
"""What may follow the name of a grouped parameter, newest first."""

FORBIDDEN_TRAITS: Version = (1, 22)
MANY_MEMBER_OF: Version = (1, 24)
FORBIDDEN_AGGREGATES: Version = (1, 32)
ANY_TRAITS: Version = (1, 39)


def is_uuid(text: str) -> bool:
    """Whether this is a UUID, with or without dashes."""
    try:
        return str(uuid.UUID(text)).replace("-", "") == text.replace("-", "").lower()
    except ValueError:
        return False


def check_names(request: Request, known: dict[str, Version]) -> None:
    """Invalid when there is a parameter that the request's version does not know."""
    for name, _ in request.queries:
        if request.version < known.get(name, (9, 9)):
            raise Invalid(f"{BAD}Additional properties are not allowed ('{name}' was unexpected)", field=name)


def one(request: Request, name: str) -> str | None:
    """A parameter's value; the last one counts."""
    return request.query.get(name)


def first(request: Request, name: str) -> str | None:
    """A parameter's value; the first one counts."""
    return next(iter(request.all_queries(name)), None)


def uuid_of(request: Request, name: str) -> str | None:
    """A parameter's value, which has to be a UUID."""
    text = one(request, name)
    if text is not None and not is_uuid(text.strip()):
        raise Invalid(f"{BAD}Expected '{name}' parameter to be a format of uuid: '{text}' is not a 'uuid'", field=name)
    return None if text is None else text.strip()


def resources(text: str) -> dict[str, int]:
    """VCPU:2,MEMORY_MB:1024 as amounts."""
    badly = "Badly formed resources parameter. Expected resources query string parameter in form: ?resources=VCPU:2,MEMORY_MB:1024. Got: "
    if not text.strip():
        raise Invalid(f"{badly}empty string.", field="resources")
    found: dict[str, int] = {}
    for part in text.split(","):
        name, colon, amount = part.partition(":")
        if not colon or ":" in amount:
            raise Invalid(f"{badly}{part}.", field="resources")
        try:
            number = int(amount)
        except ValueError as error:
            raise Invalid(f"Requested resource {name} expected positive integer amount. Got: {amount}.", field="resources") from error
        if number < 1:
            raise Invalid(f"Requested resource {name} requires amount >= 1. Got: {number}.", field="resources")
        found[name] = number
    return found


def traits(values: Iterable[str], version: Version) -> tuple[TraitSets, frozenset[str]]:
    """(of each set one is required, forbidden) of the values of `required`; before 1.39 only the last value counts."""
    given = list(values)
    required: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for text in given if version >= ANY_TRAITS else given[-1:]:
        if text.startswith("in:"):
            required.append(_any_trait(text, version))
            continue
        names = [name.strip() for name in text.split(",")]
        away = {name.lstrip("!") for name in names if name.startswith("!")}
        form = "HW_CPU_X86_VMX,!CUSTOM_MAGIC" if version >= FORBIDDEN_TRAITS else "HW_CPU_X86_VMX,CUSTOM_MAGIC"
        if "" in names or "" in away or (away and version < FORBIDDEN_TRAITS):
            raise Invalid(f"{BAD}Expected 'required' parameter value of the form: {form}. Got: {text}", field="required")
        required += [frozenset([name]) for name in names if not name.startswith("!")]
        forbidden |= away
    return tuple(required), frozenset(forbidden)


def _any_trait(text: str, version: Version) -> frozenset[str]:
    form = "in:HW_CPU_X86_VMX,CUSTOM_MAGIC"
    if version < ANY_TRAITS:
        raise Invalid(f"{BAD}The format '{form}' only supported since microversion 1.39. Got: {text}", field="required")
    names = frozenset(name.strip() for name in text[3:].split(","))
    if "" in names:
        raise Invalid(f"{BAD}Expected 'required' parameter value of the form: {form}. Got an empty trait in: {text}", field="required")
    if any(name.startswith("!") for name in names):
        raise Invalid(f"{BAD}The format '{form}' does not support forbidden traits. Got: {text}", field="required")
    return names


def member_of(values: list[str], version: Version, suffix: str = "") -> tuple[TraitSets, frozenset[str]]:
    """(of each set one is wanted, forbidden) of the values of `member_of`."""
    if len(values) > 1 and version < MANY_MEMBER_OF:
        raise Invalid(f"Multiple member_of{suffix} parameters are not supported", field="member_of")
    wanted: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for text in values:
        away = text.startswith("!")
        names = text.removeprefix("!")
        if "," in names and not names.startswith("in:"):
            raise Invalid(
                "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword using the valid microversion. "
                f"Got: {text}",
                field="member_of",
            )
        aggregates = frozenset(names.removeprefix("in:").split(","))
        for name in sorted(aggregates):
            if not is_uuid(name):
                raise Invalid(f"{BAD}Expected 'member_of' parameter to contain valid UUID(s). Got: {name}", field="member_of")
        if away and version < FORBIDDEN_AGGREGATES:
            raise Invalid(f"Forbidden member_of{suffix} parameters are not supported in the specified microversion", field="member_of")
        if away:
            forbidden |= aggregates
        else:
            wanted.append(aggregates)
    return tuple(wanted), frozenset(forbidden)


def suffix_pattern(version: Version) -> str | None:
    """What a group's suffix looks like in a version; None while there are none."""
    return next((pattern for since, pattern in SUFFIXES if version >= since), None)


def grouped(request: Request) -> dict[str, dict[str, list[str]]]:
    """{suffix: {parameter: values}} of the grouped parameters of a request for candidates; unknown parameters are Invalid."""
    pattern = suffix_pattern(request.version)
    known = [name for name in GROUPED if request.version >= CANDIDATES[name]]
    if pattern is None:
        check_names(request, CANDIDATES)
    groups: dict[str, dict[str, list[str]]] = {}
    for name, value in request.queries:
        match = re.fullmatch(f"({'|'.join(known)})({pattern})?" if pattern else f"({'|'.join(known)})()", name)
        if match:
            groups.setdefault(match[2] or "", {}).setdefault(match[1], []).append(value)
        elif request.version < CANDIDATES.get(name, (9, 9)) or name in GROUPED:
            forms = ", ".join(f"'^{one}({pattern})?$'" for one in known)
            raise Invalid(f"{BAD}'{name}' does not match any of the regexes: {forms}", field=name)
    return groups
