"""Allocation candidates: the query made into a CandidateRequest, the answer into a document."""

from typing import Any

import msgspec

from pileus.api.placement import queries
from pileus.api.placement.answers import answer
from pileus.api.placement.history import HISTORY
from pileus.api.request import Request, Response, Version
from pileus.core.candidates import candidates
from pileus.core.provider_forest import Forest
from pileus.model.candidates import CandidateRequest, Candidates, Group
from pileus.model.errors import Invalid
from pileus.model.placement import Provider
from pileus.store.placement_names import unknown_resource_classes, unknown_traits
from pileus.store.provider_view import view_of

NESTED: Version = (1, 29)
SAME_SUBTREE: Version = (1, 36)
BAD_VALUE, MISSING_VALUE = "placement.query.bad_value", "placement.query.missing_value"


async def list_candidates(request: Request) -> Response:
    """All ways to give what is asked."""
    asked = parse(request)
    await _check_names(request, asked)
    request.notes["resources"] = {name for group in asked.groups for name in group.resources}
    forest = (await view_of(request.cloud.db)).forest
    found = candidates(asked, forest)
    older = HISTORY.changed(request.version, request.route.shape)
    return answer(request, document(found, forest) if older else encoded(found, forest))


def document(found: Candidates, forest: Forest) -> dict[str, Any]:
    """Candidates as the newest version shows them, for older ones to be made of it."""
    summaries = {key: {**_stocks(forest.providers[key]), "traits": forest.providers[key].traits} for key in found.providers}
    return {"allocation_requests": msgspec.to_builtins(found.requests), "provider_summaries": summaries}


def encoded(found: Candidates, forest: Forest) -> dict[str, Any]:
    """The same, mostly in JSON already: what is said of a provider is written once for as long as it does not change, and lists of
    traits, which are long and which many hosts share, once an answer."""
    lists: dict[frozenset[str], bytes] = {}
    summaries: dict[str, msgspec.Raw] = {}
    for key in found.providers:
        stocks = forest.shown.get(key)
        if stocks is None:
            stocks = forest.shown[key] = msgspec.json.encode(_stocks(forest.providers[key]))[:-1] + b',"traits":'
        traits = forest.traits[key]
        text = lists.get(traits)
        if text is None:
            text = lists[traits] = msgspec.json.encode(forest.providers[key].traits) + b"}"
        summaries[key] = msgspec.Raw(stocks + text)
    return {"allocation_requests": found.requests, "provider_summaries": summaries}


def _stocks(provider: Provider) -> dict[str, Any]:
    """All of a summary but the traits."""
    used = provider.used
    return {
        "resources": {name: {"capacity": one.capacity, "used": used.get(name, 0)} for name, one in provider.inventories.items()},
        "parent_provider_uuid": provider.parent_id,
        "root_provider_uuid": provider.root_id,
    }


def parse(request: Request) -> CandidateRequest:
    """What the query asks; Invalid where it is not well said."""
    groups = [_group(suffix, values, request.version) for suffix, values in queries.grouped(request).items()]
    subtrees = [frozenset(part.strip() for part in value.split(",")) for value in request.all_queries("same_subtree")]
    if any("" in suffixes for suffixes in subtrees):
        raise Invalid("Empty string (unsuffixed group) can not be specified in `same_subtree` ", code=BAD_VALUE)
    if request.version < queries.SUFFIXES[-1][0] and "resources" not in request.query:
        raise Invalid(f"{queries.BAD}'resources' is a required property", field="resources")
    if request.version >= SAME_SUBTREE:
        _check_subtrees(groups, subtrees)
    else:
        _check_orphans(groups)
    _check_conflicts(groups)
    required, forbidden = _root_traits(request)
    return CandidateRequest(
        groups=groups,
        limit=_limit(request),
        isolate=_policy(request, groups) == "isolate",
        root_required=required,
        root_forbidden=forbidden,
        same_subtrees=subtrees,
        nested=request.version >= NESTED,
    )


def _group(suffix: str, values: dict[str, list[str]], version: Version) -> Group:
    required, forbidden = queries.traits(values.get("required", []), version)
    member_of, not_member_of = queries.member_of(values.get("member_of", []), version, suffix)
    tree = values["in_tree"][-1].strip() if "in_tree" in values else None
    if tree is not None and not queries.is_uuid(tree):
        raise Invalid(f"{queries.BAD}Expected 'in_tree' parameter to be a format of uuid. Got: {tree}", field="in_tree")
    return Group(
        suffix=suffix,
        resources=queries.resources(values["resources"][-1]) if "resources" in values else {},
        required=required,
        forbidden=forbidden,
        member_of=member_of,
        not_member_of=not_member_of,
        in_tree=tree,
    )


def _limit(request: Request) -> int | None:
    text = queries.first(request, "limit")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and text[0] != "0"):
        raise Invalid(f"{queries.BAD}'{text}' does not match '^[1-9][0-9]*$'", field="limit")
    return int(text)


def _policy(request: Request, groups: list[Group]) -> str | None:
    policy = queries.first(request, "group_policy")
    if policy not in (None, "none", "isolate"):
        raise Invalid(f"{queries.BAD}'{policy}' is not one of ['none', 'isolate']", field="group_policy")
    if policy is None and sum(1 for group in groups if group.suffix) > 1:
        raise Invalid('The "group_policy" parameter is required when specifying more than one "resources{N}" parameter.')
    return policy


def _root_traits(request: Request) -> tuple[frozenset[str], frozenset[str]]:
    values = request.all_queries("root_required")
    if not values:
        return frozenset(), frozenset()
    if len(values) > 1:
        raise Invalid("Query parameter 'root_required' may be specified only once.", code="placement.query.duplicate_key")
    if values[0].startswith("in:"):
        raise Invalid(f"{queries.BAD}'root_required' does not know the form in:. Got: {values[0]}", code=BAD_VALUE)
    required, forbidden = queries.traits(values, request.version)
    names = frozenset[str]().union(*required)
    if both := names & forbidden:
        raise Invalid(
            f"Conflicting required and forbidden traits found in root_required: {', '.join(sorted(both))}",
            code=BAD_VALUE,
        )
    return names, forbidden


def _check_subtrees(groups: list[Group], subtrees: list[frozenset[str]]) -> None:
    """From 1.36: a group may be without resources when it is named by a `same_subtree`."""
    suffixes = {group.suffix for group in groups}
    named = frozenset[str]().union(*subtrees)
    empty = [group.suffix for group in groups if not group.resources]
    if len(empty) == len(groups):
        raise Invalid("There must be at least one resources or resources[$S] parameter.", code=MISSING_VALUE)
    if bad := [suffix for suffix in empty if suffix not in named]:
        text = f"Resourceless suffixed group request should be specified in `same_subtree` query param: bad group(s) - {bad}."
        raise Invalid(text, code=BAD_VALUE)
    if bad := sorted(named - suffixes):
        raise Invalid(f"Real suffixes should be specified in `same_subtree`: {bad} not found in {sorted(suffixes)}.", code=BAD_VALUE)


def _check_orphans(groups: list[Group]) -> None:
    """Before 1.36: every group has resources."""
    empty = [group for group in groups if not group.resources]
    if orphans := [f"required{group.suffix}" for group in empty if group.required]:
        text = f"All traits parameters must be associated with resources. Found the following orphaned traits keys: {', '.join(orphans)}"
        raise Invalid(text)
    if orphans := [f"member_of{group.suffix}" for group in empty if group.member_of or group.not_member_of]:
        text = "All member_of parameters must be associated with resources. Found the following orphaned member_of keys: "
        raise Invalid(text + ", ".join(orphans))
    if empty:
        raise Invalid("All request groups must specify resources.")
    if not groups:
        raise Invalid("At least one request group (`resources` or `resources{$S}`) is required.")


def _check_conflicts(groups: list[Group]) -> None:
    both = [(group.suffix, choice) for group in groups for choice in group.required if choice <= group.forbidden]
    found = [f"required{suffix}: ({', '.join(sorted(choice))})" for suffix, choice in both]
    if found:
        raise Invalid(f"Conflicting required and forbidden traits found in the following traits keys: {', '.join(sorted(found))}")


async def _check_names(request: Request, asked: CandidateRequest) -> None:
    db = request.cloud.db
    classes = [name for group in asked.groups for name in group.resources]
    if unknown := await unknown_resource_classes(db, classes):
        raise Invalid(f"Invalid resource class in resources parameter: No such resource class {unknown[0]}.", field="resources")
    named = [choice for group in asked.groups for choice in (*group.required, group.forbidden)]
    if unknown := await unknown_traits(db, frozenset().union(*named, asked.root_required, asked.root_forbidden)):
        raise Invalid(f"No such trait(s): {', '.join(unknown)}.", field="required")
