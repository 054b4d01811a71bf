"""Servers: where they run, what they take of a host, what is left of them, and what their faults and consoles tell."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pileus.model.errors import NodeFailed
from pileus.model.images import Image, ImageStatus, Visibility
from pileus.model.messages import ConsoleEndpoint, NodeReply, NodeRequest, OpenConsole
from pileus.store import images
from tests.api.compute.moving import Moving
from tests.api.compute.test_consoles import Browser, token_of, wanted
from tests.api.harness import TestCloud

GIB = 1 << 30
HINTS = ["_nova_check_type", "_requested_networks", "requested_destination", "force_hosts", "force_nodes", "ignore_hosts", "pci_requests",
         "_nova_bypass", "nova_reserved", "limits", "retry", "instance_type", "request_level_params"]  # fmt: skip


@pytest.fixture
def moving(cloud: TestCloud) -> Iterator[Moving]:
    """Two hosts."""
    made = Moving(cloud)
    yield made
    made.close()


def image(moving: Moving, size: int = GIB, **properties: str) -> str:
    """Another active image, of everybody's."""
    key = f"00000000-0000-4000-8000-{abs(hash((size, *properties.items()))) % 10**12:012d}"
    one = Image(
        id=key, created_at=1.0, updated_at=1.0, owner=None, name="other", status=ImageStatus.ACTIVE, visibility=Visibility.PUBLIC,
        container_format="bare", disk_format="qcow2", size=1 << 20, virtual_size=size, content="1" * 64, properties=properties,
    )  # fmt: skip
    moving.cloud.write(lambda tx: images.insert(tx, one))
    return key


@pytest.mark.parametrize("value", [["rebuild"], "rebuild", {"rebuild": True}, [["rebuild"]], "h2", None])
def test_no_hint_gets_around_what_is_claimed_of_a_host(value: Any, moving: Moving) -> None:
    plain = moving.placed("plain")
    body = {"server": {"name": "x", "imageRef": moving.image, "flavorRef": "1", "networks": "auto", "availability_zone": "nova"},
            "os:scheduler_hints": dict.fromkeys(HINTS, value)}  # fmt: skip
    answer = moving.call("POST", "/servers", body)
    assert answer.status in (202, 400), answer
    if answer.status == 202:
        server = answer.json["server"]["id"]
        moving.wait(server)
        assert list(moving.shares(server).values()) == list(moving.shares(plain).values())
        assert moving.show(server, who="admin")["OS-EXT-AZ:availability_zone"] == "nova"
    body["server"]["availability_zone"] = "elsewhere"
    assert moving.call("POST", "/servers", body).status == 400


def test_a_rebuild_gets_nothing_that_a_placement_would_refuse(moving: Moving) -> None:
    server = moving.placed()
    before = moving.shares(server)
    host = str(moving.record(server).host)
    made = moving.call("POST", "/os-aggregates", {"aggregate": {"name": "isolated"}}, who="admin").json["aggregate"]["id"]
    assert moving.call("POST", f"/os-aggregates/{made}/action", {"add_host": {"host": host}}, who="admin").status == 200
    metadata = {"set_metadata": {"metadata": {"os_distro": "debian"}}}
    assert moving.call("POST", f"/os-aggregates/{made}/action", metadata, who="admin").status == 200
    for refused in ({"os_distro": "windows"}, {"hw_architecture": "s390x"}, {"trait:CUSTOM_LICENSED": "required"}, {"img_hv_type": "xen"}):
        answer = moving.act(server, "rebuild", {"imageRef": image(moving, **refused)})
        assert answer.status == 400 and "No valid host" in answer.json["badRequest"]["message"], refused
        assert host not in answer.json["badRequest"]["message"] and "isolated" not in answer.json["badRequest"]["message"]
        assert moving.show(server)["image"]["id"] == moving.image
    assert moving.act(server, "rebuild", {"imageRef": image(moving, os_distro="debian")}).status == 202
    moving.wait(server)
    assert moving.shares(server) == before and set(before) == {host}


def test_rebuilt_again_and_again_a_server_takes_what_it_took(moving: Moving) -> None:
    server = moving.placed()
    before, host = moving.shares(server), moving.record(server).host
    for number in range(4):
        assert moving.act(server, "rebuild", {"imageRef": image(moving, os_version=str(number))}).status == 202
        moving.wait(server)
        assert (moving.shares(server), moving.record(server).host) == (before, host)


def test_a_rebuild_takes_no_more_disk_than_was_claimed_where_the_flavor_leaves_it_to_the_image(moving: Moving) -> None:
    flavor = {"flavor": {"name": "by image", "ram": 512, "vcpus": 1, "disk": 0, "id": "zero"}}
    assert moving.call("POST", "/flavors", flavor, who="admin").status == 200
    server = moving.placed(flavor="zero")
    assert moving.act(server, "rebuild", {"imageRef": image(moving, 50 * GIB)}).status == 400
    assert moving.act(server, "rebuild", {"imageRef": image(moving, GIB, a="b")}).status == 202


def test_a_server_that_is_deleted_in_any_state_of_a_resize_leaves_nothing(moving: Moving) -> None:
    flavor = {"flavor": {"name": "bigger", "ram": 1024, "vcpus": 2, "disk": 1, "id": "bigger"}}
    assert moving.call("POST", "/flavors", flavor, who="admin").status == 200
    for late in (False, True):
        server = moving.placed()
        assert moving.act(server, "resize", {"flavorRef": "bigger"}).status == 202
        if late:
            moving.wait(server, "VERIFY_RESIZE")
        assert moving.call("DELETE", f"/servers/{server}").status == 204
        moving.until(lambda key=server: moving.call("GET", f"/servers/{key}").status == 404, "it is gone")
        moving.until(lambda key=server: moving.guests(key) == {}, "no host has it")
        assert moving.shares(server) == {} and moving.port_hosts(server) == set()
    left = moving.cloud.run(moving.cloud.db.all("SELECT consumer_id FROM allocations"))
    assert left == []


def test_a_reboot_after_a_move_uses_what_the_destination_was_told(moving: Moving) -> None:
    server = moving.placed()
    destination = moving.other(server)
    assert moving.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"}, who="admin").status == 202
    moving.wait_move(server, "completed")
    moving.wait(server)
    for kind in ("SOFT", "HARD"):
        assert moving.act(server, "reboot", {"type": kind}).status == 202
        moving.wait(server)
        assert moving.guests(server) == {destination: "running"}
        told = next(one for one in moving.drivers[destination].guests() if one.id == server)
        assert {disk.name for disk in told.disks} and all(disk.image is None or disk.image.sha256 == "0" * 64 for disk in told.disks)


def test_a_fault_tells_its_owner_what_happened_and_not_how_the_host_is_made(moving: Moving) -> None:
    secret = "open('/etc/pileus/secret'): Permission denied at 10.9.8.7 as uid 0"
    for driver in moving.drivers.values():

        async def fails(guest: Any) -> Any:
            raise NodeFailed("The hypervisor refused the guest.", detail=secret)

        driver.apply = fails  # type: ignore[method-assign]
    server = moving.create()
    moving.wait(server, "ERROR")
    path = f"/servers/{server}"
    actions = moving.call("GET", f"{path}/os-instance-actions").json["instanceActions"]
    shown = [moving.call("GET", path), moving.call("GET", "/servers/detail")]
    shown += [moving.call("GET", f"{path}/os-instance-actions/{one['request_id']}") for one in actions]
    shown += [moving.call("GET", f"{path}/diagnostics"), moving.act(server, "os-getConsoleOutput", {})]
    for answer in shown:
        assert secret.encode() not in answer.body and b"10.9.8.7" not in answer.body and b"Traceback" not in answer.body
    assert "The hypervisor refused the guest." in moving.show(server)["fault"]["message"]
    assert moving.show(server, who="admin")["fault"]["details"] == secret


def test_an_unexpected_error_tells_nothing_of_itself(
    moving: Moving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = moving.placed()

    def breaks(*args: Any, **more: Any) -> Any:
        raise RuntimeError("postgresql://pileus:hunter2@db/pileus refused SELECT secret")

    monkeypatch.setattr("pileus.api.compute.server_views._fault", breaks)
    moving.cloud.write(
        lambda tx: tx.execute("UPDATE servers SET fault = ? WHERE id = ?", '{"code":500,"message":"m","created_at":1}', server)
    )
    monkeypatch.setattr("pileus.api.compute.servers.visible", breaks)
    token = moving.cloud.token("member")
    with caplog.at_level(logging.DEBUG):
        answer = moving.cloud.call("GET", f"/compute/v2.1/servers/{server}", token)
    assert answer.status == 500
    assert b"hunter2" not in answer.body and b"RuntimeError" not in answer.body and b"postgresql" not in answer.body
    assert token not in caplog.text


@pytest.mark.parametrize(
    "path",
    ["//evil.example/%2f..", "/console//evil.example/..", "/console/%2f%2fevil.example", "/console/vnc/..//evil.example",
     "/console/static//evil.example/%2e%2e", "/console/\\\\evil.example", "//evil.example/console/vnc/.."],
)  # fmt: skip
def test_no_address_of_the_consoles_leads_elsewhere(path: str, shared_cloud: TestCloud) -> None:
    for method in ("GET", "HEAD", "POST"):
        answer = shared_cloud.call(method, path)
        assert answer.status in (400, 401, 404, 405) and "location" not in answer.headers, answer
        assert "refresh" not in answer.headers and b"http-equiv" not in answer.body


def test_a_consoles_token_opens_one_console_of_one_server_and_is_in_no_log(moving: Moving, caplog: pytest.LogCaptureFixture) -> None:
    servers = [moving.placed("one"), moving.placed("two")]
    asked: list[NodeRequest] = []
    request = moving.cloud.bus.stream

    async def stream(host: str, message: OpenConsole) -> Any:
        asked.append(message)
        raise NodeFailed("not in this test")

    moving.cloud.bus.stream = stream  # type: ignore[method-assign, assignment]
    caplog.set_level(logging.DEBUG)
    tokens = [token_of(wanted(moving, one).json["remote_console"]["url"]) for one in servers]

    async def open_one(token: str) -> dict[str, Any]:
        browser = Browser(moving, "/console/serial", token)
        await asyncio.wait_for(browser.speak(), 5)
        return await browser.got.get()

    for token in (*tokens, tokens[0][:-1], tokens[0] + "x", "", "%"):
        assert moving.cloud.run(open_one(token))["type"] == "websocket.close"
    assert [one.guest_id for one in asked if isinstance(one, OpenConsole)] == servers
    assert not [token for token in tokens if token in caplog.text or token[:16] in caplog.text]
    assert moving.call("GET", f"/os-console-auth-tokens/{tokens[0]}").status == 403
    moving.cloud.bus.stream = request  # type: ignore[method-assign]


def test_a_consoles_token_ends_with_its_server(moving: Moving) -> None:
    server = moving.placed()
    token = token_of(wanted(moving, server).json["remote_console"]["url"])
    assert moving.call("DELETE", f"/servers/{server}").status == 204
    moving.until(lambda: moving.call("GET", f"/servers/{server}").status == 404, "it is gone")
    moving.until(lambda: moving.guests(server) == {}, "no host has it")
    opened: list[Any] = []

    async def node(message: NodeRequest) -> NodeReply:
        if isinstance(message, OpenConsole):
            opened.append(message)
        return ConsoleEndpoint(path="/nowhere")

    async def talk() -> dict[str, Any]:
        browser = Browser(moving, "/console/serial", token)
        await asyncio.wait_for(browser.speak(), 5)
        return await browser.got.get()

    moving.cloud.bus.attach("h1", node)
    assert moving.cloud.run(talk())["code"] in (4403, 4503) and moving.guests(server) == {}


@pytest.mark.parametrize("who", ["member", "manager", "reader", "nobody", "other_project_member"])
def test_events_from_outside_are_for_services_alone(who: str, moving: Moving) -> None:
    server = moving.placed()
    events = [
        {"name": "network-vif-deleted", "server_uuid": server, "tag": "x"},
        {"name": "power-update", "server_uuid": server, "tag": "POWER_OFF"},
    ]
    answer = moving.call("POST", "/os-server-external-events", {"events": events}, who=who)
    assert answer.status in (401, 403)
    assert moving.show(server)["status"] == "ACTIVE"


def test_unknown_paths_leave_nothing_behind(shared_cloud: TestCloud) -> None:
    import gc

    def ask(number: int) -> None:
        for place in ("network/v2.0", "compute/v2.1", "identity/v3", "image/v2", "placement", "nowhere"):
            shared_cloud.call("GET", f"/{place}/no-such-controller-{number}/x{number}", token)

    token = shared_cloud.token("member")
    for number in range(50):
        ask(number)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(50, 350):
        ask(number)
    gc.collect()
    assert len(gc.get_objects()) - before < 300, "300 unknown paths left objects behind"
