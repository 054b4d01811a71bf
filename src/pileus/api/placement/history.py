"""Placement's microversions, newest first, each with what it changed. Those without transforms changed which routes or queries exist:
the route table says since when (`since`), `queries.py` since when a parameter or a form of its value."""

from typing import Any

from pileus.api.placement.usages import without_types
from pileus.api.request import Request, Response, Version
from pileus.api.versions import EVERY, Answer, Change, History, Transform
from pileus.model.errors import Invalid

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Project and user of consumers that were made when they had neither (before 1.8)."""


def change(
    minor: int,
    text: str,
    responses: dict[str, Transform] | None = None,
    requests: dict[str, Transform] | None = None,
    answers: dict[str, Answer] | None = None,
) -> Change:
    """Version 1.`minor`."""
    version: Version = (1, minor)
    return Change(version=version, text=text, responses=responses or {}, requests=requests or {}, answers=answers or {})


def drop(*names: str) -> Transform:
    """A document without these keys."""

    def transform(request: Request, document: Any) -> Any:
        return {key: value for key, value in document.items() if key not in names}

    return transform


def drop_in(part: str, *names: str) -> Transform:
    """A document without these keys in each value of the object `part`."""
    inner = drop(*names)

    def transform(request: Request, document: Any) -> Any:
        return {**document, part: {key: inner(request, value) for key, value in document[part].items()}}

    return transform


def drop_in_each(part: str, name: str) -> Transform:
    """A document without this key in each item of the array `part`."""
    inner = drop(name)

    def transform(request: Request, document: Any) -> Any:
        return {**document, part: [inner(request, value) for value in document[part]]}

    return transform


def one_and_many(transform: Transform) -> dict[str, Transform]:
    """For a provider and for the list of them."""

    def many(request: Request, document: Any) -> Any:
        return {"resource_providers": [transform(request, one) for one in document["resource_providers"]]}

    return {"provider": transform, "provider_put": transform, "provider_created": transform, "providers": many}


def without_link(name: str) -> dict[str, Transform]:
    """A provider without a link."""

    def transform(request: Request, document: Any) -> Any:
        return {**document, "links": [link for link in document["links"] if link["rel"] != name]}

    return one_and_many(transform)


# Bodies. A transform sees what the client sent, which may be anything.


def refuse(body: Any, *names: str) -> None:
    """Invalid when a body has a key that its version does not know."""
    if not isinstance(body, dict):
        raise Invalid("JSON does not validate: an object is expected.")
    for name in names:
        if name in body:
            raise Invalid(f"JSON does not validate: Additional properties are not allowed ('{name}' was unexpected)", field=name)


def refusing(name: str) -> Transform:
    """A body that may not have this key yet."""

    def transform(request: Request, body: Any) -> Any:
        refuse(body, name)
        return body

    return transform


def each_consumer(transform: Transform) -> dict[str, Transform]:
    """For the body of one consumer, of many, and of a reshape."""

    def many(request: Request, body: Any) -> Any:
        refuse(body)
        return {key: transform(request, one) for key, one in body.items()}

    def reshape(request: Request, body: Any) -> Any:
        refuse(body)
        return {**body, "allocations": many(request, body["allocations"])} if "allocations" in body else body

    return {"allocations_put": transform, "allocations_post": many, "reshape": reshape}


def untyped(request: Request, body: Any) -> Any:
    """Before 1.38 consumers had no type."""
    refuse(body, "consumer_type")
    request.notes["untyped"] = True
    return {**body, "consumer_type": "UNKNOWN"}


def unguarded(request: Request, body: Any) -> Any:
    """Before 1.28 consumers had no generation."""
    refuse(body, "consumer_generation")
    request.notes["unguarded"] = True
    return {**body, "consumer_generation": None}


def not_empty(request: Request, body: Any) -> Any:
    """Before 1.28 a PUT could not take everything away."""
    body = unguarded(request, body)
    if body.get("allocations") in ({}, []):
        raise Invalid("JSON does not validate: {} does not have enough properties", field="allocations")
    return body


def from_array(request: Request, body: Any) -> Any:
    """Before 1.12 allocations were an array."""
    refuse(body)
    listed = body.get("allocations")
    if not isinstance(listed, list) or not listed:
        raise Invalid("JSON does not validate: 'allocations' is an array that is not empty ([] is too short: should be non-empty)")
    found: dict[str, Any] = {}
    for one in listed:
        refuse(one)
        provider = one.get("resource_provider")
        refuse(provider)
        if provider.keys() != {"uuid"} or one.keys() != {"resource_provider", "resources"}:
            raise Invalid("JSON does not validate: an allocation has resource_provider.uuid and resources")
        found[str(provider["uuid"])] = {"resources": one["resources"]}
    return {**body, "allocations": found}


def ownerless(request: Request, body: Any) -> Any:
    """Before 1.8 consumers had neither project nor user."""
    refuse(body, "project_id", "user_id")
    return {**body, "project_id": NOBODY, "user_id": NOBODY}


def less_reserved(request: Request, body: Any) -> Any:
    """Before 1.26 something of an inventory had to be left."""
    refuse(body)
    inventories = body.get("inventories", {"": body})
    for name, one in inventories.items() if isinstance(inventories, dict) else ():
        total, reserved = (one.get("total"), one.get("reserved")) if isinstance(one, dict) else (None, None)
        if isinstance(total, int) and isinstance(reserved, int) and reserved >= total > 0:
            what = f"Invalid inventory for '{name or body.get('resource_class') or request.params.get('resource_class')}' "
            where = f"on resource provider '{request.params['uuid']}'"
            verb = "create" if request.method == "POST" else "update"
            unable = f"Unable to {verb} inventory for resource provider {request.params['uuid']}: "
            raise Invalid(f"{unable}{what}{where}. The reserved value is greater than or equal to total.", field="reserved")
    return body


def bare_aggregates(request: Request, body: Any) -> Any:
    """Before 1.19 the body was the array alone, and nothing guarded it."""
    request.notes["unguarded"] = True
    return {"aggregates": body, "resource_provider_generation": 0}


def fixed_parent(request: Request, body: Any) -> Any:
    """Before 1.37 a provider kept its parent."""
    request.notes["fixed_parent"] = True
    return body


# Candidates.


def requested_only(request: Request, document: Any) -> Any:
    """Before 1.27 summaries had the requested classes alone."""
    wanted = request.notes["resources"]
    summaries = {
        key: {**one, "resources": {name: stock for name, stock in one["resources"].items() if name in wanted}}
        for key, one in document["provider_summaries"].items()
    }
    return {**document, "provider_summaries": summaries}


def as_arrays(request: Request, document: Any) -> Any:
    """Before 1.12 the allocations of a candidate were an array."""
    return {
        **document,
        "allocation_requests": [
            {"allocations": [{"resource_provider": {"uuid": key}, **one} for key, one in candidate["allocations"].items()]}
            for candidate in document["allocation_requests"]
        ],
    }


# Status and headers.


def without_times(request: Request, response: Response) -> Response:
    """Before 1.15 answers did not say when something had changed."""
    headers = {name: value for name, value in response.headers.items() if name not in ("Last-Modified", "Cache-Control")}
    return Response(response.status, response.body, headers)


def only_location(request: Request, response: Response) -> Response:
    """Before 1.20 a new provider was not shown."""
    return Response(201, None, {"Location": response.headers["Location"]})


RESERVED: dict[str, Transform] = dict.fromkeys(("inventories_put", "inventory_post", "inventory_put"), less_reserved)
PARENTS = ("parent_provider_uuid", "root_provider_uuid")

CHANGES = [
    change(39, "`required` may be repeated and takes `in:` with traits of which one is enough."),
    change(
        38,
        "Consumers have a type.",
        responses={"allocations": drop("consumer_type"), "usages": without_types},
        requests=each_consumer(untyped),
    ),
    change(37, "A provider may be put under another parent, or under none.", requests={"provider_put": fixed_parent}),
    change(36, "`same_subtree`, and groups without resources in it."),
    change(35, "`root_required`."),
    change(
        34,
        "Candidates say which provider satisfies which group.",
        responses={"candidates": drop_in_each("allocation_requests", "mappings")},
        requests=each_consumer(refusing("mappings")),
    ),
    change(33, "Suffixes of groups may be words."),
    change(32, "`member_of` takes aggregates that are not wanted."),
    change(31, "`in_tree` for candidates."),
    change(30, "`POST /reshaper`."),
    change(29, "Candidates from trees of providers.", responses={"candidates": drop_in("provider_summaries", *PARENTS)}),
    change(
        28,
        "Consumers have a generation; an empty object of allocations takes all away.",
        responses={"allocations": drop("consumer_generation"), "provider_allocations": drop_in("allocations", "consumer_generation")},
        requests={**each_consumer(unguarded), "allocations_put": not_empty},
    ),
    change(27, "Summaries of candidates have all classes, not only the requested.", responses={"candidates": requested_only}),
    change(26, "All of an inventory may be reserved.", requests=RESERVED),
    change(25, "Groups with a number, `group_policy`."),
    change(24, "`member_of` may be repeated."),
    change(23, "Errors have a code."),
    change(22, "`required` takes traits that are not wanted."),
    change(21, "`member_of` for candidates."),
    change(20, "A new provider is shown.", answers={"provider_created": only_location}),
    change(
        19,
        "Aggregates are guarded by the provider's generation.",
        responses={"aggregates": drop("resource_provider_generation")},
        requests={"aggregates": bare_aggregates},
    ),
    change(18, "`required` for providers."),
    change(17, "`required` for candidates; summaries have traits.", responses={"candidates": drop_in("provider_summaries", "traits")}),
    change(16, "`limit` for candidates."),
    change(15, "Answers say when something was changed.", answers={EVERY: without_times}),
    change(
        14,
        "Providers form trees.",
        responses=one_and_many(drop(*PARENTS)),
        requests=dict.fromkeys(("provider_created", "provider_put"), refusing("parent_provider_uuid")),
    ),
    change(13, "`POST /allocations`."),
    change(
        12,
        "Allocations are an object, and show their owner.",
        responses={"allocations": drop("project_id", "user_id"), "candidates": as_arrays},
        requests={"allocations_put": from_array},
    ),
    change(11, "Providers link to their allocations.", responses=without_link("allocations")),
    change(10, "`GET /allocation_candidates`."),
    change(9, "`GET /usages`."),
    change(8, "Consumers have a project and a user.", requests={"allocations_put": ownerless}),
    change(7, "`PUT /resource_classes/{name}` makes a class instead of renaming it."),
    change(6, "Traits.", responses=without_link("traits")),
    change(5, "All inventories may be removed at once."),
    change(4, "`resources` for providers."),
    change(3, "`member_of` for providers."),
    change(2, "Resource classes of one's own."),
    change(1, "Aggregates.", responses=without_link("aggregates")),
]

HISTORY = History(header="placement", minimum=(1, 0), maximum=(1, 39), changes=CHANGES)
