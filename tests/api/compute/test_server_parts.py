"""What hangs on a server: metadata, tags, addresses, actions, diagnostics, console log."""

import pytest

from pileus.model.guests import Diagnostics
from pileus.model.messages import ConsoleLog, DiagnosticsReply, Failed, NodeReply, NodeRequest, ReadConsoleLog
from pileus.store import actions
from tests.api.compute.conftest import Compute


def test_metadata_item_by_item(compute: Compute) -> None:
    path = f"/servers/{compute.running(metadata={'a': '1'})}/metadata"
    assert compute.call("POST", path, {"metadata": {"b": "2"}}).json == {"metadata": {"a": "1", "b": "2"}}
    assert compute.call("PUT", f"{path}/b", {"meta": {"b": "3"}}).json == {"meta": {"b": "3"}}
    assert compute.call("PUT", f"{path}/b", {"meta": {"c": "3"}}).status == 400
    assert compute.call("GET", f"{path}/b").json == {"meta": {"b": "3"}}
    assert compute.call("DELETE", f"{path}/b").status == 204
    assert compute.call("DELETE", f"{path}/b").status == 404
    assert compute.call("PUT", path, {"metadata": {"z": "9"}}).json == {"metadata": {"z": "9"}}
    assert compute.call("GET", path).json == {"metadata": {"z": "9"}}
    too_many = {str(index): "" for index in range(129)}
    assert compute.call("PUT", path, {"metadata": too_many}).status == 403
    assert compute.call("PUT", path, {"metadata": {"a/b": "1"}}).status == 400


def test_tags_one_by_one(compute: Compute) -> None:
    path = f"/servers/{compute.running()}/tags"
    made = compute.call("PUT", f"{path}/red")
    assert made.status == 201
    assert made.headers["location"].endswith("/tags/red")
    assert compute.call("PUT", f"{path}/red").status == 204
    assert compute.call("GET", f"{path}/red").status == 204
    assert compute.call("GET", f"{path}/blue").status == 404
    assert compute.call("PUT", path, {"tags": ["b", "a"]}).json == {"tags": ["a", "b"]}
    assert compute.call("PUT", path, {"tags": [str(index) for index in range(51)]}).status == 400
    assert compute.call("PUT", f"{path}/{'x' * 61}").status == 400
    assert compute.call("DELETE", f"{path}/a").status == 204
    assert compute.call("DELETE", f"{path}/a").status == 404
    assert compute.call("DELETE", path).status == 204
    assert compute.call("GET", path).json == {"tags": []}
    assert compute.call("GET", path, version="2.25").status == 404


def test_update_changes_what_is_named(compute: Compute) -> None:
    server = compute.running()
    body = {
        "server": {"description": "d", "hostname": "web", "accessIPv4": "1.2.3.4", "accessIPv6": "fd00::1", "OS-DCF:diskConfig": "AUTO"}
    }
    shown = compute.call("PUT", f"/servers/{server}", body).json["server"]
    assert (shown["name"], shown["description"], shown["OS-EXT-SRV-ATTR:hostname"]) == ("one", "d", "web")
    assert (shown["accessIPv4"], shown["accessIPv6"], shown["OS-DCF:diskConfig"]) == ("1.2.3.4", "fd00::1", "AUTO")
    assert compute.call("PUT", f"/servers/{server}", {"server": {"accessIPv4": "x"}}).status == 400
    assert compute.call("PUT", f"/servers/{server}", {"server": {"hostname": "x"}}, version="2.89").status == 400
    old = compute.call("PUT", f"/servers/{server}", {"server": {"name": "n"}}, version="2.74").json["server"]
    assert "OS-EXT-STS:vm_state" not in old
    assert old["name"] == "n"


def test_a_server_is_unpinned_and_pinned_to_its_own_zone(compute: Compute) -> None:
    server = compute.running(availability_zone="nova")
    path = f"/servers/{server}"
    assert compute.show(server)["pinned_availability_zone"] == "nova"
    assert compute.call("PUT", path, {"server": {"pinned_availability_zone": "mars"}}).status == 409
    assert compute.call("PUT", path, {"server": {"pinned_availability_zone": None}}).json["server"]["pinned_availability_zone"] is None
    assert compute.call("PUT", path, {"server": {"pinned_availability_zone": "mars"}}).status == 409
    assert compute.call("PUT", path, {"server": {"pinned_availability_zone": "nova"}}).status == 200
    assert compute.call("PUT", path, {"server": {"pinned_availability_zone": None}}, version="2.103").status == 400


def test_addresses_and_interfaces(compute: Compute) -> None:
    path = f"/servers/{compute.running()}"
    address = compute.call("GET", f"{path}/ips").json["addresses"]["private"][0]
    assert address.keys() == {"addr", "version"}
    assert compute.call("GET", f"{path}/ips/private").json == {"private": [address]}
    assert compute.call("GET", f"{path}/ips/other").status == 404
    port = compute.call("GET", f"{path}/os-interface").json["interfaceAttachments"][0]
    assert port["fixed_ips"][0]["ip_address"] == address["addr"]
    assert compute.call("GET", f"{path}/os-interface/{port['port_id']}").json["interfaceAttachment"] == port
    assert "tag" not in compute.call("GET", f"{path}/os-interface", version="2.69").json["interfaceAttachments"][0]
    assert compute.call("GET", f"{path}/os-interface/none").status == 404
    assert compute.call("GET", f"{path}/os-virtual-interfaces", version="2.12").json["virtual_interfaces"][0]["net_id"] == compute.network
    assert compute.call("GET", f"{path}/os-virtual-interfaces").status == 404


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("os-volume_attachments", {"volumeAttachments": []}), ("os-server-password", {"password": ""}), ("shares", {"shares": []}),
        ("topology", {"nodes": [], "pagesize_kb": None}),
    ],
)  # fmt: skip
def test_what_a_server_does_not_have_is_empty(compute: Compute, name: str, document: dict[str, object]) -> None:
    assert compute.call("GET", f"/servers/{compute.running()}/{name}").json == document


def test_actions_and_their_events(compute: Compute) -> None:
    server = compute.running()
    compute.act(server, "os-stop")
    listed = compute.call("GET", f"/servers/{server}/os-instance-actions").json["instanceActions"]
    assert [one["action"] for one in listed] == ["stop", "create"]
    request = listed[0]["request_id"]

    async def fail(tx: object) -> None:
        await actions.finish(tx, server, request, "compute_stop_instance", result="Error", message="it would not", host="one")  # pyright: ignore

    compute.cloud.write(fail)
    path = f"/servers/{server}/os-instance-actions/{request}"
    mine = compute.call("GET", path).json["instanceAction"]
    assert mine["message"] == "Error"
    assert mine["events"][0]["details"] == "it would not"
    assert not {"traceback", "host"} & mine["events"][0].keys()
    full = compute.call("GET", path, who="admin").json["instanceAction"]["events"][0]
    assert full["host"] == "one"
    assert "details" not in compute.call("GET", path, version="2.83").json["instanceAction"]["events"][0]
    assert "events" not in compute.call("GET", path, version="2.50").json["instanceAction"]
    assert compute.call("GET", f"/servers/{server}/os-instance-actions/req-none").status == 404
    page = compute.call("GET", f"/servers/{server}/os-instance-actions?limit=1").json
    assert len(page["instanceActions"]) == 1
    assert f"marker={request}" in page["links"][0]["href"]
    rest = compute.call("GET", f"/servers/{server}/os-instance-actions?marker={request}").json["instanceActions"]
    assert [one["action"] for one in rest] == ["create"]


def test_diagnostics_and_console_log_come_from_the_node(compute: Compute) -> None:
    server = compute.create()
    assert compute.act(server, "os-getConsoleOutput", {}).status == 409
    compute.settle(server)
    asked: list[NodeRequest] = []

    async def node(message: NodeRequest) -> NodeReply:
        asked.append(message)
        if isinstance(message, ReadConsoleLog):
            return ConsoleLog(text="hello\n")
        return DiagnosticsReply(diagnostics=Diagnostics(state="running", driver="qemu", hypervisor="tcg", memory_maximum=512, uptime=5))

    compute.cloud.bus.attach("one", node)
    assert compute.act(server, "os-getConsoleOutput", {"length": 10}).json == {"output": "hello\n"}
    assert asked[-1] == ReadConsoleLog(guest_id=server, lines=10)
    compute.act(server, "os-getConsoleOutput", {"length": -1})
    assert asked[-1] == ReadConsoleLog(guest_id=server, lines=None)
    found = compute.call("GET", f"/servers/{server}/diagnostics", who="admin").json
    assert (found["state"], found["uptime"], found["memory_details"]["maximum"]) == ("running", 5, 512)
    assert compute.call("GET", f"/servers/{server}/diagnostics", who="admin", version="2.47").json["memory"] == 512 * 1024


def test_a_node_that_fails_is_an_error_of_the_cloud(compute: Compute) -> None:
    server = compute.running()

    async def node(message: NodeRequest) -> NodeReply:
        return Failed(reason="The log is gone.")

    compute.cloud.bus.attach("one", node)
    answer = compute.act(server, "os-getConsoleOutput", {})
    assert answer.status == 500
    assert answer.json["computeFault"]["message"] == "The log is gone."
    compute.cloud.bus.detach("one")
    assert compute.act(server, "os-getConsoleOutput", {}).status == 503
