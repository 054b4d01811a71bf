"""Values that no client sends by mistake, in every field, query and path of every route: never more than a refusal, never a 500."""

import typing
from types import UnionType
from typing import Any

import msgspec
import pytest

from pileus.api.network import routes as network_routes
from pileus.api.network.kinds import Kind
from pileus.api.request import encode
from pileus.api.routes import Route, Service
from tests.api.harness import TestCloud, services

TEXTS = [
    "",
    "\0",
    "a\0b",
    "../../../../etc/passwd",
    "a\r\nSet-Cookie: x=1",
    "' OR 1=1 --",
    "\u202e\U0001f600",
    "%s%n{0}",
    "x" * 70000,
    "²",
    "-1",
    "9" * 5000,
]
NUMBERS = [-1, 0, 1 << 31, 1 << 63, 1 << 64, -(1 << 64), 10**400, 1.5, -0.0, 1e308]
OTHERS = [None, True, [], {}, [[]], [None], {"": None}, {"a": {"b": []}}]
QUERIES = [
    "limit=-1", "limit=99999999999999999999", "limit=" + "9" * 5000, "limit=%C2%B2", "marker=%00", "marker=x", "sort_key=id&sort_key=id",
    "sort_key=x;drop", "sort_dir=up", "sort_key=id&sort_dir=up", "offset=99999999999999999999", "offset=" + "9" * 5000,
    "name=" + "(" * 200, "name=(a%2B)%2B$", "name=%00", "changes-since=0001-01-01T00:00:00%2B23:59",
    "changes-since=9999-12-31T23:59:59-23:59",
    "start=9999-12-31T23:59:59-23:59&end=9999-12-31T23:59:59-23:59", "end=9999-12-31T23:59:59-23:59", "start=0001-01-01T00:00:00",
    "created_at=9999-12-31T23:59:59-23:59", "power_state=%C2%B2", "power_state=99999999999999999999", "launch_index=99999999999999999999",
    "fields=id&fields=%00", "tags=a,,b&tags-any=%00", "id=in:" + ",".join("x" * 200), "size=999999999999999999", "ip=" + "[" * 9,
    "revision_number=99999999999999999999", "mtu=" + "9" * 5000, "min_disk=99999999999999999999", "minRam=99999999999999999999",
    "resources=VCPU:99999999999999999999", "resources=VCPU:%C2%B2", "member_of=in:", "in_tree=%00", "required=in:", "root_required=",
    "all_tenants=x", "deleted=x", "visibility=x", "group_policy=", "resources1=VCPU:1&resources1=VCPU:1", "page_reverse=x&limit=1&marker=x",
]  # fmt: skip


def path_of(service: Service, route: Route, ids: dict[str, str], other: str = "x1") -> str:
    """A path that leads to the route, about things that are there where we know of some."""
    parts: list[str] = []
    for part in route.path.strip("/").split("/"):
        name = part[1:-1].removesuffix(":path")
        parts.append(part if not part.startswith("{") else ids.get(parts[-1] if name == "id" and parts else name, other))
    return f"/{service.prefix}/{'/'.join(parts)}"


def samples(hint: Any, depth: int = 0) -> list[Any]:
    """Values of a type: first a good one where that is simple, then hostile ones."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        inner = [one for one in typing.get_args(hint) if one not in (type(None), msgspec.UnsetType)]
        return samples(inner[0], depth)
    hint = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and depth < 6:
        return list(bodies(hint, depth + 1)) + OTHERS
    if typing.get_origin(hint) is list and depth < 6:
        return [[one] for one in samples(typing.get_args(hint)[0], depth + 1)] + OTHERS
    good: list[Any] = [1] if hint in (int, float) else [True] if hint is bool else ["x"]
    return [*good, *TEXTS, *NUMBERS, *OTHERS]


def bodies(struct: type[msgspec.Struct], depth: int = 0) -> typing.Iterator[dict[str, Any]]:
    """Objects in which one field after the other has hostile values; the others have good ones where they must be there."""
    fields = msgspec.structs.fields(struct)
    base = {one.encode_name: samples(one.type, depth)[0] for one in fields if one.required}
    for one in fields:
        for value in samples(one.type, depth):
            yield {**base, one.encode_name: value}


def cases(service: Service, route: Route, ids: dict[str, str]) -> typing.Iterator[tuple[str, Any]]:
    """(path with query, body or None) of a route."""
    path = path_of(service, route, ids)
    if "{" in route.path:
        for text in ("\0", "..", "' OR 1=1", "²", "x" * 5000, "\U0001f600"):
            yield path_of(service, route, {}, text), {route.action: None} if route.action else {}
    if route.method == "GET":
        yield from ((f"{path}?{query}", None) for query in QUERIES)
    kind = KINDS.get(route.path.strip("/").split("/")[1]) if service.prefix == "network" and route.path.count("/") > 1 else None
    if kind and route.method in ("POST", "PUT"):
        yield from ((path, {kind.name: one}) for one in attributes(kind, route.method, ids))
        yield path, {kind.plural: [{}] * 3}
    if isinstance(route.body, type) and issubclass(route.body, msgspec.Struct):
        yield from ((path, one) for one in bodies(route.body))
    elif route.method in ("POST", "PUT", "PATCH") and not route.stream:
        yield from ((path, one) for one in [*OTHERS, "x", 1])


KINDS = {one.path: one for one in network_routes.KINDS}
LISTS = ("fixed_ips", "allowed_address_pairs", "extra_dhcp_opts", "host_routes", "routes", "allocation_pools", "dns_nameservers",
         "external_gateway_info", "security_groups", "tags")  # fmt: skip
PARTS = ("ip_address", "mac_address", "subnet_id", "opt_name", "opt_value", "destination", "nexthop", "start", "end", "network_id")


def attributes(kind: Kind, method: str, ids: dict[str, str]) -> typing.Iterator[dict[str, Any]]:
    """Bodies of the network service, which reads them by tables of attributes."""
    base: dict[str, Any] = {}
    if method == "POST":
        good = {"network_id": ids["networks"], "security_group_id": ids["security-groups"], "ip_version": 4, "cidr": "10.99.0.0/24",
                "name": "x", "direction": "ingress", "floating_network_id": ids["networks"], "object_type": "network",
                "object_id": ids["networks"], "action": "access_as_shared", "target_tenant": "x"}  # fmt: skip
        base = {one.name: good[one.name] for one in kind.attributes if one.name in good}
    for one in kind.attributes:
        for value in [*TEXTS, *NUMBERS, *OTHERS]:
            yield {**base, one.name: value}
        for text in ["\0", "²", "x" * 70000, 1 << 70, "fe80::1%x", "10.0.0.1", "::/0"] if one.name in LISTS else []:
            yield {**base, one.name: [text]}
            for part in PARTS:
                yield {**base, one.name: [{part: text}]}
            yield {**base, one.name: [{"ip_address": text, "mac_address": "fa:16:3e:00:00:09"}]}
            yield {**base, one.name: [{"destination": "0.0.0.0/0", "nexthop": text}]}
            yield {**base, one.name: {"network_id": ids["networks"], "external_fixed_ips": [{"ip_address": text}], "enable_snat": text}}


NOT_TRIED = {"DELETE"}
"""What removes the things that the others are about."""


@pytest.mark.parametrize("who", ["member", "admin"])
@pytest.mark.parametrize("service", services().values(), ids=services())
def test_no_value_is_answered_by_a_server_error(service: Service, who: str, shared_cloud: TestCloud, ids: dict[str, str]) -> None:
    token = shared_cloud.token(who)
    wrong: list[str] = []
    for route in service.routes:
        if route.method in NOT_TRIED or (route.action and route.body is None and who == "admin"):
            continue
        headers = {"openstack-api-version": f"{service.history.header} latest"} if service.history and route.until is None else {}
        if route.media:
            headers["content-type"] = route.media[0]
        for path, body in cases(service, route, ids):
            data = None if body is None else encode(body)
            answer = shared_cloud.call(route.method, path, token, content=data or b"", headers=headers)
            if answer.status >= 500 and answer.status not in (501, 503) and len(wrong) < 40:
                wrong.append(f"{route.method} {path[:200]} {str(body)[:200]}: {answer.status} {answer.body[:100]!r}")
    assert not wrong, "\n".join(wrong)
