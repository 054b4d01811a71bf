"""The filters, order and paging of lists of servers, from the query to what the store understands."""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from pileus.api import policy
from pileus.api.compute import fields
from pileus.api.request import Request, Version
from pileus.model.errors import Forbidden, Invalid
from pileus.model.servers import Status
from pileus.store.listing import Condition
from pileus.store.server_lists import ServerQuery

NOT_HERE = frozenset(
    {"MIGRATING", "PASSWORD", "RESCUE", "RESIZE", "REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "SOFT_DELETED", "VERIFY_RESIZE"}
)
"""States of Nova that no server of ours is in: lists of them are empty."""
EQUAL = {
    "reservation_id": "reservation_id", "uuid": "id", "user_id": "user_id", "vm_state": "vm_state", "task_state": "task_state",
    "host": "host", "node": "host", "image": "image_id", "image_ref": "image_id", "key_name": "key_name", "locked_by": "locked_by",
}  # fmt: skip
NUMBERS = {"power_state": "power_state", "launch_index": "launch_index"}
REGEX = {
    "name": "name", "display_name": "name", "description": "description", "display_description": "description", "hostname": "hostname",
    "root_device_name": "root_device", "access_ip_v4": "access_ip_v4", "access_ip_v6": "access_ip_v6",
}  # fmt: skip
FLAGS = {"locked": "locked", "config_drive": "config_drive"}
TIMES = {"created_at": "created_at", "launched_at": "launched_at", "terminated_at": "terminated_at"}
TAGS = ("tags", "tags-any", "not-tags", "not-tags-any")
NOTHING = ("kernel_id", "ramdisk_id", "progress", "auto_disk_config")
KNOWN: dict[str, Version] = {
    **dict.fromkeys(
        [
            *EQUAL, *NUMBERS, *REGEX, *TIMES, *NOTHING, "config_drive", "project_id", "tenant_id", "all_tenants", "deleted", "soft_deleted",
            "status", "changes-since", "ip", "ip6", "flavor", "availability_zone", "sort_key", "sort_dir", "limit", "marker",
        ],
        (2, 1),
    ),
    **dict.fromkeys(TAGS, (2, 26)),
    "changes-before": (2, 66),
    "locked": (2, 73),
}  # fmt: skip
EVERYBODY: dict[str, Version] = {
    **dict.fromkeys(
        [
            "reservation_id", "name", "status", "image", "flavor", "ip", "changes-since", "all_tenants", "sort_key", "sort_dir", "limit",
            "marker",
        ],
        (2, 1),
    ),
    "ip6": (2, 5),
    **dict.fromkeys(TAGS, (2, 26)),
    "changes-before": (2, 66),
    "locked": (2, 73),
    **dict.fromkeys(
        [
            "availability_zone", "config_drive", "key_name", "created_at", "launched_at", "terminated_at", "power_state", "task_state",
            "vm_state", "progress", "user_id",
        ],
        (2, 83),
    ),
}  # fmt: skip
"""Filters that are not for administrators alone, with the version that gave them to everybody; others are ignored, as with Nova."""
SORT = {
    "created_at": "created_at", "updated_at": "updated_at", "display_name": "name", "uuid": "id", "host": "host", "node": "host",
    "hostname": "hostname", "image_ref": "image_id", "key_name": "key_name", "launch_index": "launch_index", "launched_at": "launched_at",
    "locked": "locked", "locked_by": "locked_by", "power_state": "power_state", "project_id": "project_id", "task_state": "task_state",
    "terminated_at": "terminated_at", "user_id": "user_id", "vm_state": "vm_state", "access_ip_v4": "access_ip_v4",
    "access_ip_v6": "access_ip_v6", "availability_zone": "availability_zone", "config_drive": "config_drive",
    "display_description": "description", "root_device_name": "root_device", "instance_type_id": "vcpus", "auto_disk_config": "disk_config",
}  # fmt: skip
ANYWAY = frozenset({"kernel_id", "ramdisk_id", "progress"})
"""Keys that are accepted and order nothing."""


def parse(request: Request, all_projects: str) -> ServerQuery:
    """What the list is to hold. `all_projects` is the action that allows servers of every project."""
    fields.check_queries(request, KNOWN, (2, 75))
    if not policy.allowed(request, "os_compute_api:servers:allow_all_filters"):
        request.query = {name: value for name, value in request.query.items() if EVERYBODY.get(name, (9, 0)) <= request.version}
    conditions = [*_whose(request, all_projects), *_simple(request), *_statuses(request), *_when(request)]
    tests = [*_tests(request), *_tag_tests(request)]
    return ServerQuery(
        conditions=conditions,
        sort=_sort(request),
        marker=request.query.get("marker"),
        limit=fields.page_limit(request),
        tests=tests,
        address_tests=[_search(request.query[name], name) for name in ("ip", "ip6") if request.query.get(name)],
    )


def _whose(request: Request, all_projects: str) -> list[Condition]:
    query = request.query
    wanted = query.get("project_id") or query.get("tenant_id")
    every = fields.query_flag(request, "all_tenants", False)
    if every:
        policy.require(request, all_projects)
    if wanted and every:
        return [Condition(column="project_id", value=wanted)]
    return [] if every else [Condition(column="project_id", value=request.project_id)]


def _simple(request: Request) -> list[Condition]:
    query = request.query
    found: list[Condition] = []
    for name, column in EQUAL.items():
        if name in query:
            values = [None if value.lower() == "none" else value for value in request.all_queries(name)]
            found.append(
                Condition(column=column, value=values[0]) if len(values) == 1 else Condition(column=column, value=values, operator="in")
            )
    for name, column in NUMBERS.items():
        if name in query:
            text = query[name]
            number = int(text) if text.isascii() and text.isdigit() and len(text) <= fields.DIGITS else -1
            found.append(Condition(column=column, value=number))
    for name, column in FLAGS.items():
        if name in query:
            found.append(Condition(column=column, value=fields.query_flag(request, name)))
    for name, column in TIMES.items():
        if name in query:
            moment = math.floor(fields.parse_time(query[name], name))
            found += [Condition(column=column, value=moment, operator="gte"), Condition(column=column, value=moment + 1, operator="lt")]
    return found


def _statuses(request: Request) -> list[Condition]:
    if "status" not in request.query:
        return []
    wanted = [value.upper() for value in request.all_queries("status")]
    unknown = [value for value in wanted if value not in Status.__members__ and value not in NOT_HERE]
    if unknown and request.version >= (2, 38):
        raise Invalid(f"Invalid server status: {unknown[0].lower()}", field="status")
    if "DELETED" in wanted and not request.identity.is_admin:
        raise Forbidden("Only administrators may list deleted instances")
    return [Condition(column="status", value=[value for value in wanted if value in Status.__members__], operator="in")]


def _when(request: Request) -> list[Condition]:
    """Those that are there, unless times or an administrator ask for those that are gone too."""
    since, before = fields.query_time(request, "changes-since"), fields.query_time(request, "changes-before")
    found: list[Condition] = []
    if since is not None:
        found.append(Condition(column="updated_at", value=since, operator="gte"))
    if before is not None:
        found.append(Condition(column="updated_at", value=before + 1, operator="lt"))
    if since is not None and before is not None and since > before:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.", field="changes-since")
    deleted = fields.query_flag(request, "deleted") if request.identity.is_admin else None
    if deleted is None and "DELETED" in [value.upper() for value in request.all_queries("status")]:
        deleted = True
    if fields.query_flag(request, "soft_deleted"):
        return [*found, Condition(column="id", value=None)]
    if deleted:
        return [*found, Condition(column="removed_at", value=None, operator="ne")]
    if deleted is False or (since is None and before is None):
        found.append(Condition(column="removed_at", value=None))
    return found


def _search(pattern: str, name: str) -> Callable[[Any], bool]:
    expression = fields.matches(pattern, name)
    return lambda value: value is not None and expression(str(value))


def _tests(request: Request) -> list[tuple[str, Callable[[Any], bool]]]:
    query = request.query
    found = [(column, _search(query[name], name)) for name, column in REGEX.items() if name in query]
    if "flavor" in query:
        wanted = query["flavor"]
        found.append(("flavor", lambda value: msgspec.json.decode(value)["id"] == wanted))
    if zone := query.get("availability_zone"):
        found.append(("coalesce(availability_zone, requested_zone)", lambda value: value == zone))
    return found


def _tag_tests(request: Request) -> list[tuple[str, Callable[[Any], bool]]]:
    found: list[tuple[str, Callable[[Any], bool]]] = []
    for name in TAGS:
        if name in request.query:
            found.append(("tags", _tag_test(name, set(request.query[name].split(",")))))
    return found


def _tag_test(name: str, wanted: set[str]) -> Callable[[Any], bool]:
    rules: dict[str, Callable[[set[str]], bool]] = {
        "tags": lambda own: wanted <= own,
        "tags-any": lambda own: bool(wanted & own),
        "not-tags": lambda own: not wanted <= own,
        "not-tags-any": lambda own: not wanted & own,
    }
    return lambda value: rules[name](set(msgspec.json.decode(value)))


def _sort(request: Request) -> list[tuple[str, str]]:
    keys = request.all_queries("sort_key")
    directions = request.all_queries("sort_dir")
    if len(directions) > len(keys) and keys:
        raise Invalid("Sort direction size exceeds sort key size")
    known = SORT if request.version >= (2, 73) else {name: column for name, column in SORT.items() if name != "locked"}
    sort: list[tuple[str, str]] = []
    for index, key in enumerate(keys):
        if known.get(key) == "host" and not request.identity.is_admin:
            raise Forbidden(f"Only administrators can sort servers by {key}")
        if key in known:
            sort.append((known[key], directions[index] if index < len(directions) else directions[0] if directions else "desc"))
        elif key not in ANYWAY and request.version >= (2, 75):
            raise Invalid(
                f"Invalid input for query parameters sort_key. Value: {key}. '{key}' is not one of {sorted(known)}", field="sort_key"
            )
    for _, direction in sort:
        if direction not in ("asc", "desc"):
            raise Invalid(f"Unknown sort direction, must be one of: asc, desc; not {direction}", field="sort_dir")
    return sort or [("created_at", directions[0] if directions else "desc")]
