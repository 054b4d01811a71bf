"""What anybody may send is bounded: heads, paths, queries, bodies, their depth and length, and the time that they take to come."""

import contextlib
import http.client
import json
import resource
import socket
import time
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any

import msgspec
import pytest

from pileus.api import listener, request
from pileus.api.network import routes as network_routes
from pileus.api.request import encode
from pileus.api.routes import Route, Service
from pileus.core import json_bounds
from tests.api.harness import Answer, TestCloud, services
from tests.api.image.calls import OCTETS, create, files, show
from tests.api.isolation.test_hostile_values import LISTS, path_of

LOGIN = "/identity/v3/auth/tokens"
MANY = 9_000
"""Items of a list, below the bound of any list."""


# Heads and queries


def test_more_headers_than_any_client_sends_are_refused(shared_cloud: TestCloud, address: tuple[str, int]) -> None:
    few = {f"x-{number}": "y" for number in range(request.MOST_HEADERS - 10)}
    assert shared_cloud.call("GET", "/identity/v3", headers=few).status == 200
    answer = shared_cloud.call("GET", "/identity/v3", headers={**few, **{f"z-{number}": "y" for number in range(20)}})
    assert answer.status == 431 and "headers" in answer.json["error"]["message"]
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", "/identity/v3", headers={f"x-{number}": "y" for number in range(request.MOST_HEADERS + 1)})
    assert connection.getresponse().status == 431
    connection.close()


def test_a_path_that_is_too_long_is_refused(shared_cloud: TestCloud) -> None:
    assert shared_cloud.call("GET", "/identity/v3/users/" + "a" * (request.LONGEST_PATH - 100), "admin").status == 404
    answer = shared_cloud.call("GET", "/identity/v3/users/" + "a" * request.LONGEST_PATH, "admin")
    assert answer.status == 414 and "path" in answer.json["error"]["message"]


def test_a_query_is_bounded_in_length_and_in_its_parts(shared_cloud: TestCloud) -> None:
    assert shared_cloud.call("GET", "/identity/v3/users?" + "&".join(f"a{n}=1" for n in range(500)), "admin").status == 200
    assert shared_cloud.call("GET", "/identity/v3/users?" + "&".join(f"a{n}=1" for n in range(501)), "admin").status == 400
    answer = shared_cloud.call("GET", "/identity/v3/users?name=" + "a" * request.LONGEST_QUERY, "admin")
    assert answer.status == 414 and "query" in answer.json["error"]["message"]


@pytest.mark.parametrize("prefix", ["network/v2.0/networks", "network/v2.0/ports", "compute/v2.1/servers/detail", "image/v2/images",
                                    "identity/v3/users", "identity/v3/role_assignments", "network/v2.0/security-group-rules"])  # fmt: skip
def test_a_query_of_many_values_costs_bounded_time_and_is_no_servers_error(prefix: str, shared_cloud: TestCloud) -> None:
    for name in ("id", "name", "tags", "fields", "sort_key", "project_id", "fixed_ips", "status"):
        for query in (
            "&".join(f"{name}=x{n}" for n in range(490)),
            f"{name}=" + ",".join(f"x{n}" for n in range(8000)),
            f"{name}=in:" + "x," * 20000,
        ):
            began = time.monotonic()
            assert shared_cloud.call("GET", f"/{prefix}?{query}", "admin").status < 500, (name, query[:40])
            assert time.monotonic() - began < 5, (name, query[:40])


# Bodies


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100 + b"]" * 100, "nested"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested"),
        (b'{"a": [' + b"0," * json_bounds.LONGEST + b"0]}", "items"),
        (b"{" + b",".join(b'"%d":0' % n for n in range(json_bounds.LONGEST + 1)) + b"}", "items"),
        (b"[" + b",".join(b"[" + b"0," * 9000 + b"0]" for _ in range(23)) + b"]", "values"),
    ],
)
def test_a_body_that_is_too_deep_or_too_long_is_refused_in_a_moment(content: bytes, words: str, shared_cloud: TestCloud) -> None:
    for path, token in (
        (LOGIN, None),
        ("/network/v2.0/networks", "member"),
        ("/compute/v2.1/servers", "member"),
        ("/placement/resource_providers", "admin"),
    ):
        began = time.monotonic()
        answer = shared_cloud.call("POST", path, token, content=content, headers={"content-type": "application/json"})
        assert answer.status == 400 and words.encode() in answer.body, answer
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("content", [b'{"\x80": 1}', b'{"auth": "\xed\xa0\x80"}', b'"\xff"', b'{"a": "\\ud800"}'])
def test_a_body_with_text_that_is_none_is_malformed(content: bytes, shared_cloud: TestCloud) -> None:
    for path, token in ((LOGIN, None), ("/network/v2.0/networks", "member"), ("/image/v2/images", "member")):
        answer = shared_cloud.call("POST", path, token, content=content, headers={"content-type": "application/json"})
        assert answer.status == 400 and b"Malformed" in answer.body, answer


def test_a_body_is_bounded_with_and_without_its_length_said(address: tuple[str, int], shared_cloud: TestCloud) -> None:
    limit = shared_cloud.cloud.config.body_limit
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.putrequest("POST", LOGIN)
    connection.putheader("Content-Length", str(10 * limit))
    connection.endheaders(b"{")
    assert connection.getresponse().status == 413
    connection.close()
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.request(
        "POST", LOGIN, iter([b"x" * 65536] * (limit // 65536 + 2)), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert connection.getresponse().status == 413
    connection.close()


def lists_of(hint: Any) -> bool:
    """Whether a type is a list."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return any(lists_of(one) for one in typing.get_args(hint))
    hint = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    return typing.get_origin(hint) is list or hint is list


def item_of(hint: Any) -> Any:
    """Something that a list of this type may hold."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return item_of(next(one for one in typing.get_args(hint) if lists_of(one)))
    if typing.get_origin(hint) is typing.Annotated:
        return item_of(typing.get_args(hint)[0])
    inner = typing.get_args(hint)[0] if typing.get_args(hint) else str
    return good(inner)


def good(hint: Any, depth: int = 0) -> Any:
    """A value of a type."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return good(next(one for one in typing.get_args(hint) if one not in (type(None), msgspec.UnsetType)), depth)
    if typing.get_origin(hint) is typing.Annotated:
        return good(typing.get_args(hint)[0], depth)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return {one.encode_name: good(one.type, depth + 1) for one in msgspec.structs.fields(hint) if one.required}
    if typing.get_origin(hint) in (list, dict) or hint in (list, dict):
        return [] if (typing.get_origin(hint) or hint) is list else {}
    return {int: 1, float: 1.0, bool: True}.get(hint, "x")


def long_bodies(hint: Any, depth: int = 0) -> Iterator[Any]:
    """Bodies of a struct's type in which one list after the other is long."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        for one in typing.get_args(hint):
            yield from long_bodies(one, depth)
    if typing.get_origin(hint) is typing.Annotated:
        yield from long_bodies(typing.get_args(hint)[0], depth)
    if not (isinstance(hint, type) and issubclass(hint, msgspec.Struct)) or depth > 4:
        return
    base = good(hint)
    for one in msgspec.structs.fields(hint):
        if lists_of(one.type):
            item = item_of(one.type)
            varied = [f"{item}{n}" if isinstance(item, str) else item for n in range(MANY)]
            yield {**base, one.encode_name: varied}
        for inner in long_bodies(one.type, depth + 1):
            yield {**base, one.encode_name: inner}


def long_attributes(service: Service, route: Route) -> Iterator[Any]:
    """The same for the network service, which reads bodies by tables of attributes."""
    kinds = {one.path: one for one in network_routes.KINDS}
    kind = kinds.get(route.path.strip("/").split("/")[1]) if service.prefix == "network" and route.path.count("/") > 1 else None
    if kind and route.method in ("POST", "PUT") and route.path.rstrip("/").count("/") <= 3:
        for one in [one for one in kind.attributes if one.name in LISTS or route.method == "POST"]:
            for item in ("10.0.0.0/24", {"ip_address": "10.0.0.1"}) if one.name in LISTS else ("x",):
                yield {kind.name: {one.name: [item] * MANY}}
        yield {kind.plural: [{}] * MANY}


@pytest.mark.parametrize("service", services().values(), ids=services())
def test_no_long_list_in_any_field_is_answered_by_a_servers_error_or_a_long_wait(service: Service, shared_cloud: TestCloud) -> None:
    token, wrong, tried = shared_cloud.token("admin"), [], 0
    for route in service.routes:
        if route.stream or route.method not in ("POST", "PUT", "PATCH"):
            continue
        headers = {"openstack-api-version": f"{service.history.header} latest"} if service.history and route.until is None else {}
        headers["content-type"] = route.media[0] if route.media else "application/json"
        for body in [*long_bodies(route.body), *long_attributes(service, route)]:
            tried += 1
            began = time.monotonic()
            answer = shared_cloud.call(route.method, path_of(service, route, {}), token, content=encode(body), headers=headers)
            took = time.monotonic() - began
            if took > 5 or (answer.status >= 500 and answer.status not in (501, 503)):
                wrong.append(f"{route.method} {route.path} {json.dumps(body)[:150]}: {answer.status} {answer.body[:100]!r} {took:.1f} s")
    assert not wrong, "\n".join(wrong)
    assert tried or service.prefix in ("console", "cluster")


def test_refusals_that_are_repeated_fill_no_disk(cloud: TestCloud) -> None:
    """Each with a key of its own: what is kept of an answer for a repeat is small, or nothing."""
    token = cloud.token("member")
    body = {"network": {"name": ["x" * 1000] * 900}}
    for number in range(5):
        answer = cloud.call("POST", "/network/v2.0/networks", token, body, {"Idempotency-Key": str(number)})
        assert answer.status == 400 and len(answer.body) > 500_000
    kept = cloud.run(cloud.db.value("SELECT coalesce(sum(length(body)), 0) FROM idempotency_answers"))
    assert kept < 100_000
    again = cloud.call("POST", "/network/v2.0/networks", token, body, {"Idempotency-Key": "0"})
    assert again.status == 400


# Time


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(listener, "DRAIN_SECONDS", 0.3)


def ask(address: tuple[str, int], head: str, start: bytes = b"") -> socket.socket:
    link = socket.create_connection(address, timeout=10)
    link.sendall(head.encode() + start)
    return link


def until_closed(link: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    found = b""
    while data := link.recv(65536):
        found += data
    link.close()
    return found


def test_a_body_that_stops_coming_is_given_up(impatient: None, address: tuple[str, int]) -> None:
    for body in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        answer = until_closed(ask(address, f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\n{body}\r\n\r\n", b'5\r\n{"aut\r\n'))
        assert answer.startswith(b"HTTP/1.1 408") and b"Nothing of the body came" in answer


def test_a_body_that_drips_is_given_up(impatient: None, address: tuple[str, int]) -> None:
    link = ask(address, f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    link.settimeout(0.05)
    began, answer = time.monotonic(), b""
    while time.monotonic() - began < 8:
        try:
            link.sendall(b" ")
            answer += (part := link.recv(65536))
            if not part:
                break
        except TimeoutError:
            continue
        except OSError:
            break
    assert time.monotonic() - began < 5
    assert answer.startswith(b"HTTP/1.1 408") and b"bytes a second" in answer
    link.close()


def test_an_upload_that_stops_coming_leaves_an_image_that_waits(impatient: None, address: tuple[str, int], shared_cloud: TestCloud) -> None:
    image = create(shared_cloud)
    token = shared_cloud.token("member")
    head = f"PUT /image/v2/images/{image['id']}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\nContent-Length: 1000000\r\n"
    answer = until_closed(ask(address, head + "Content-Type: application/octet-stream\r\n\r\n", b"x" * 1000))
    assert answer.startswith(b"HTTP/1.1 408")
    assert show(shared_cloud, image)["status"] == "queued" and files(shared_cloud) == []


def test_a_body_that_nobody_reads_holds_no_connection_and_no_memory(impatient: None, address: tuple[str, int]) -> None:
    """Refused before its body: what comes is dropped, and soon the connection."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head = (
        "PUT /image/v2/images/x/file HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000000000\r\n\r\n"
    )
    link = ask(address, head)
    assert link.recv(65536).startswith(b"HTTP/1.1 401")
    sent, began = 0, time.monotonic()
    try:
        while time.monotonic() - began < 8:
            link.sendall(b"x" * (1 << 20))
            sent += 1 << 20
    except OSError:
        pass
    assert time.monotonic() - began < 5, "it was read without an end"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    link.close()


def test_a_request_after_one_whose_body_nobody_wanted_is_answered_or_the_connection_ends(
    impatient: None, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.3)
    link = ask(
        address, "PUT /image/v2/images/x/file HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n"
    )
    began = time.monotonic()
    link.sendall(b"bo")
    assert link.recv(65536).startswith(b"HTTP/1.1 401")
    link.sendall(b"dy")
    until_closed(link)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 40\r\n", "Content-Length : 4\r\n", "Content-Length: +4\r\n", "Content-Length: 0x4\r\n",
        "Content-Length: -1\r\n", "Content-Length: 99999999999999999999999\r\n", "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, x\r\n",
        "X: a\n\tContent-Length: 4\r\n", "X\x00Y: 1\r\n", "X: a\x00b\r\n", ": nameless\r\n", "X: a\rContent-Length: 4\r\n",
    ],
)  # fmt: skip
def test_no_two_readers_could_disagree_where_a_request_ends(head: str, address: tuple[str, int]) -> None:
    """What a proxy before us and we could read in two ways is refused, and what follows is not taken for another request."""
    link = ask(
        address, f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\n{head}\r\n", b"0\r\n\r\nGET /identity/v3/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    link.settimeout(1.0)
    answer = b""
    with contextlib.suppress(OSError):
        while part := link.recv(65536):
            answer += part
    link.close()
    assert answer.startswith(b"HTTP/1.1 400") or answer == b"", answer
    assert b"smuggled" not in answer and answer.count(b"HTTP/1.1 ") <= 1


def test_many_that_send_slowly_keep_nobody_else_waiting(address: tuple[str, int]) -> None:
    links = [ask(address, f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"{") for _ in range(200)]
    began = time.monotonic()
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", "/identity/v3")
    assert connection.getresponse().status == 200
    assert time.monotonic() - began < 2
    connection.close()
    for link in links:
        link.close()


def test_more_connections_than_there_is_room_for_are_told_so_and_those_before_go_on(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = http.client.HTTPConnection(*address, timeout=10)
    first.connect()
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 20)
    links = [socket.create_connection(address, timeout=10) for _ in range(40)]
    answers = []
    for link in links:
        link.settimeout(0.3)
        try:
            answers.append(link.recv(4096))
        except TimeoutError:
            answers.append(b"")
    refused = [one for one in answers if one]
    assert 15 <= len(refused) <= 25 and all(one.startswith(b"HTTP/1.1 503") and b"retry-after" in one for one in refused)
    first.request("GET", "/identity/v3")
    assert first.getresponse().status == 200
    for link in (*links, first):
        link.close()
    monkeypatch.undo()
    again = http.client.HTTPConnection(*address, timeout=10)
    again.request("GET", "/identity/v3")
    assert again.getresponse().status == 200
    again.close()


# Uploads


def test_an_upload_is_bounded_with_and_without_its_length_said() -> None:
    cloud = TestCloud(image_size_limit=100_000)
    try:
        image = create(cloud)

        def put(data: bytes, **headers: str) -> Answer:
            return cloud.call("PUT", f"/image/v2/images/{image['id']}/file", "member", content=data, headers={**OCTETS, **headers})

        assert put(b"x", **{"content-length": "100001"}).status == 413
        assert put(b"x" * 100_001).status == 413
        assert put(b"x", **{"content-length": "9" * 5000}).status == 413
        assert show(cloud, image)["status"] == "queued" and files(cloud) == []
        assert put(b"x" * 100_000).status == 204
    finally:
        cloud.close()
