"""Every route of compute at an old, a middle and the newest version, against the schemas of Nova's release."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pileus.api.compute.routes import ROUTES
from pileus.bus.local import LocalBus
from pileus.model.guests import Diagnostics, ObservedGuest, ObservedPower
from pileus.model.messages import ConsoleEndpoint, ConsoleLog, DiagnosticsReply, NodeReply, NodeRequest, OpenConsole, ReadConsoleLog
from pileus.store import servers
from tests.api.compute.conftest import Compute
from tests.api.compute.moving import Moving
from tests.api.harness import TestCloud

VERSIONS = ["2.1", "2.20", "2.53", "2.75", "2.96", "2.104"]
PYTHON = os.environ.get("PILEUS_NOVA_PYTHON", "")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrk+4fjLmzoZOkVrjzPhG5V0l1B3Fn1JQqNtPYVQ2vM someone@somewhere"


class Recorder:
    """Asks, and writes down what was asked and answered."""

    def __init__(self, compute: Compute, version: str) -> None:
        self.compute = compute
        self.version = version
        self.exchanges: list[dict[str, Any]] = []

    def at_least(self, minor: int) -> bool:
        """Whether the version is 2.`minor` or later."""
        return int(self.version.partition(".")[2]) >= minor

    def __call__(self, method: str, path: str, body: Any = None, *, who: str = "admin", expect: int = 0) -> Any:
        answer = self.compute.call(method, path, body, who=who, version=self.version)
        assert answer.status < 300 if not expect else answer.status == expect, f"{method} {path} at {self.version}: {answer}"
        where, _, query = path.partition("?")
        document = answer.json if answer.body else None
        self.exchanges.append(
            {
                "method": method, "path": where, "version": self.version, "query": query, "request": body, "status": answer.status,
                "response": document,
            }
        )  # fmt: skip
        return document


async def node(message: NodeRequest) -> NodeReply:
    """A node that has a console and figures."""
    if isinstance(message, ReadConsoleLog):
        return ConsoleLog(text="booted\n")
    if isinstance(message, OpenConsole):
        return ConsoleEndpoint(path="/nowhere")
    figures = Diagnostics(
        state="running",
        driver="simulated",
        hypervisor="simulated",
        cpu_details=[{"id": 0, "time": 1, "utilisation": 2}],
        nic_details=[{"mac_address": "fa:16:3e:00:00:01", "rx_octets": 1}],
        disk_details=[{"read_bytes": 1}],
        memory_maximum=512,
        memory_used=100,
    )
    return DiagnosticsReply(diagnostics=figures)


def run_as_if(compute: Compute, server: str) -> None:
    """The host reports that the server runs as wanted."""

    async def work(tx: Any) -> None:
        seen = await servers.get(tx, server)
        if seen.host is None:
            seen = await servers.save(tx, seen, host="one", availability_zone="nova")
        power = ObservedPower(seen.power.value)
        guest = ObservedGuest(
            id=server, power=power, generation=seen.generation, reboots_soft=seen.reboots_soft, reboots_hard=seen.reboots_hard,
            builds=seen.builds, hypervisor="simulated",
        )  # fmt: skip
        await servers.record_observed(tx, server, guest, time.time())

    compute.cloud.write(work)


def flavors(ask: Recorder) -> None:
    """Flavors, their specs and access."""
    described = {"description": "small"} if ask.at_least(55) else {}
    flavor = ask("POST", "/flavors", {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1, "id": "f1", **described}})["flavor"]["id"]
    ask("POST", "/flavors", {"flavor": {"name": "g", "ram": 64, "vcpus": 1, "disk": 1, "id": "g1", "os-flavor-access:is_public": False}})
    if ask.at_least(55):
        ask("PUT", f"/flavors/{flavor}", {"flavor": {"description": None}})
    ask("POST", f"/flavors/{flavor}/os-extra_specs", {"extra_specs": {"hw:cpu_policy": "shared"}})
    ask("GET", f"/flavors/{flavor}/os-extra_specs")
    ask("GET", f"/flavors/{flavor}/os-extra_specs/hw:cpu_policy")
    ask("PUT", f"/flavors/{flavor}/os-extra_specs/hw:cpu_policy", {"hw:cpu_policy": "dedicated"})
    for path in ("/flavors", "/flavors/detail", "/flavors/detail?limit=1&sort_key=name&sort_dir=desc", f"/flavors/{flavor}"):
        ask("GET", path)
    ask("DELETE", f"/flavors/{flavor}/os-extra_specs/hw:cpu_policy")
    project = ask.compute.cloud.project_id()
    ask("POST", "/flavors/g1/action", {"addTenantAccess": {"tenant": project}})
    ask("GET", "/flavors/g1/os-flavor-access")
    ask("POST", "/flavors/g1/action", {"removeTenantAccess": {"tenant": project}})
    ask("DELETE", f"/flavors/{flavor}")


def keypairs(ask: Recorder) -> None:
    """Keypairs."""
    kind = {"type": "ssh"} if ask.at_least(2) else {}
    ask("POST", "/os-keypairs", {"keypair": {"name": "imported", "public_key": KEY, **kind}}, who="member")
    if not ask.at_least(92):
        ask("POST", "/os-keypairs", {"keypair": {"name": "generated"}}, who="member")
    ask("GET", "/os-keypairs", who="member")
    ask("GET", "/os-keypairs/imported", who="member")


def hosts(ask: Recorder) -> None:
    """Hypervisors, services, zones, aggregates."""
    host = ask("GET", "/os-hypervisors")["hypervisors"][0]["id"]
    ask("GET", "/os-hypervisors/detail")
    ask("GET", f"/os-hypervisors/{host}")
    if ask.at_least(53):
        ask("GET", "/os-hypervisors/detail?with_servers=true")
        ask("GET", "/os-hypervisors?hypervisor_hostname_pattern=on")
    else:
        ask("GET", "/os-hypervisors/on/search")
        ask("GET", "/os-hypervisors/on/servers")
    if not ask.at_least(88):
        ask("GET", "/os-hypervisors/statistics")
        ask("GET", f"/os-hypervisors/{host}/uptime")
    service = ask("GET", "/os-services?binary=nova-compute")["services"][0]["id"]
    if ask.at_least(53):
        ask("PUT", f"/os-services/{service}", {"status": "disabled", "disabled_reason": "test"})
        ask("PUT", f"/os-services/{service}", {"status": "enabled", "forced_down": False})
    else:
        for verb, more in (("disable", {}), ("disable-log-reason", {"disabled_reason": "test"}), ("enable", {})):
            ask("PUT", f"/os-services/{verb}", {"host": "one", "binary": "nova-compute", **more})
    ask("GET", "/os-availability-zone", who="member")
    ask("GET", "/os-availability-zone/detail")
    number = ask("POST", "/os-aggregates", {"aggregate": {"name": "a", "availability_zone": "z"}})["aggregate"]["id"]
    ask("POST", f"/os-aggregates/{number}/action", {"add_host": {"host": "one"}})
    ask("POST", f"/os-aggregates/{number}/action", {"set_metadata": {"metadata": {"ssd": "true", "availability_zone": None}}})
    ask("PUT", f"/os-aggregates/{number}", {"aggregate": {"name": "b"}})
    ask("GET", "/os-aggregates")
    ask("GET", f"/os-aggregates/{number}")
    ask("POST", f"/os-aggregates/{number}/action", {"remove_host": {"host": "one"}})
    ask("DELETE", f"/os-aggregates/{number}")


def projects(ask: Recorder) -> None:
    """Limits, quotas, usage, groups."""
    project = ask.compute.cloud.project_id()
    ask("GET", "/limits", who="member")
    for tail in ("", "/detail", "/defaults"):
        ask("GET", f"/os-quota-sets/{project}{tail}", who="member")
    ask("PUT", f"/os-quota-sets/{project}", {"quota_set": {"cores": 40}})
    ask("DELETE", f"/os-quota-sets/{project}")
    ask("GET", "/os-quota-class-sets/default")
    ask("PUT", "/os-quota-class-sets/default", {"quota_class_set": {"cores": 41}})
    ask("GET", "/os-simple-tenant-usage?detailed=1&start=2020-01-01T00:00:00")
    ask("GET", f"/os-simple-tenant-usage/{project}", who="member")
    policy: dict[str, Any] = (
        {"policy": "anti-affinity", "rules": {"max_server_per_host": 2}} if ask.at_least(64) else {"policies": ["affinity"]}
    )
    group = ask("POST", "/os-server-groups", {"server_group": {"name": "g", **policy}}, who="member")["server_group"]["id"]
    ask("GET", "/os-server-groups", who="member")
    ask("GET", f"/os-server-groups/{group}", who="member")
    ask("DELETE", f"/os-server-groups/{group}", who="member")
    ask("GET", "/os-migrations")


def new_server(ask: Recorder) -> str:
    """A server that was asked for, and runs."""
    wanted: dict[str, Any] = {
        "name": "s", "imageRef": ask.compute.image, "flavorRef": "1", "networks": [{"uuid": ask.compute.network}], "key_name": "imported",
        "metadata": {"a": "b"}, "user_data": "aGVsbG8=", "config_drive": True, "security_groups": [{"name": "default"}], "min_count": 1,
    }  # fmt: skip
    if ask.at_least(52):
        wanted |= {"tags": ["red"], "description": "mine"}
    if ask.at_least(94):
        wanted["hostname"] = "s.example.org"
    server = ask("POST", "/servers", {"server": wanted, "os:scheduler_hints": {}}, who="member")["server"]["id"]
    run_as_if(ask.compute, server)
    return server


def servers_of(ask: Recorder) -> None:
    """Servers and what hangs on them."""
    server = new_server(ask)
    path = f"/servers/{server}"
    for who in ("member", "admin"):
        ask("GET", path, who=who)
    for query in ("", "?status=ACTIVE", "?all_tenants=1&sort_key=created_at&sort_dir=asc", "?limit=1"):
        ask("GET", f"/servers{query}")
        ask("GET", f"/servers/detail{query}")
    ask("GET", "/servers/detail", who="member")
    ask("PUT", path, {"server": {"name": "renamed", "accessIPv4": "10.0.0.1"}}, who="member")
    run_as_if(ask.compute, server)
    parts(ask, path)
    actions(ask, server)
    ask("DELETE", path, who="member")


def parts(ask: Recorder, path: str) -> None:
    """The small routes below a server."""
    ask("POST", f"{path}/metadata", {"metadata": {"c": "d"}}, who="member")
    ask("PUT", f"{path}/metadata/e", {"meta": {"e": "f"}}, who="member")
    ask("GET", f"{path}/metadata/e", who="member")
    ask("GET", f"{path}/metadata", who="member")
    ask("DELETE", f"{path}/metadata/e", who="member")
    ask("PUT", f"{path}/metadata", {"metadata": {}}, who="member")
    run_as_if(ask.compute, path.rpartition("/")[2])
    if ask.at_least(26):
        ask("PUT", f"{path}/tags/green", who="member")
        ask("PUT", f"{path}/tags", {"tags": ["red", "blue"]}, who="member")
        ask("GET", f"{path}/tags", who="member")
        ask("GET", f"{path}/tags/red", who="member")
        ask("DELETE", f"{path}/tags/red", who="member")
        ask("DELETE", f"{path}/tags", who="member")
    for name in ("ips", "ips/private", "os-interface", "os-security-groups", "os-server-password", "os-volume_attachments"):
        ask("GET", f"{path}/{name}", who="member")
    port = ask("GET", f"{path}/os-interface", who="member")["interfaceAttachments"][0]["port_id"]
    ask("GET", f"{path}/os-interface/{port}", who="member")
    ask("GET", f"{path}/diagnostics")
    if ask.at_least(23):
        ask("GET", f"{path}/migrations")
    if ask.at_least(78):
        ask("GET", f"{path}/topology", who="member")
    for who in ("member", "admin"):
        for action in ask("GET", f"{path}/os-instance-actions", who=who)["instanceActions"]:
            ask("GET", f"{path}/os-instance-actions/{action['request_id']}", who=who)


def actions(ask: Recorder, server: str) -> None:
    """Actions, each followed by the host's report."""
    reason = {"locked_reason": "why"} if ask.at_least(73) else None
    plain: list[dict[str, Any]] = [
        {"pause": None}, {"unpause": None}, {"suspend": None}, {"resume": None}, {"os-stop": None}, {"os-start": None},
        {"reboot": {"type": "SOFT"}}, {"reboot": {"type": "HARD"}}, {"lock": reason}, {"unlock": None},
        {"rebuild": {"imageRef": ask.compute.image}}, {"os-getConsoleOutput": {"length": 10}},
        {"removeSecurityGroup": {"name": "default"}}, {"addSecurityGroup": {"name": "default"}},
    ]  # fmt: skip
    for body in plain:
        ask("POST", f"/servers/{server}/action", body, who="member")
        run_as_if(ask.compute, server)
    ask("POST", f"/servers/{server}/action", {"os-resetState": {"state": "active"}})
    if ask.at_least(6):
        for protocol, kind in (("vnc", "novnc"), ("serial", "serial")):
            wanted = {"remote_console": {"protocol": protocol, "type": kind}}
            url = ask("POST", f"/servers/{server}/remote-consoles", wanted, who="member")["remote_console"]["url"]
        if ask.at_least(31):
            ask("GET", f"/os-console-auth-tokens/{url.rpartition('=')[2]}")
    else:
        ask("POST", f"/servers/{server}/action", {"os-getVNCConsole": {"type": "novnc"}}, who="member")
        ask("POST", f"/servers/{server}/action", {"os-getSerialConsole": {"type": "serial"}}, who="member")
    ask("POST", f"/servers/{server}/action", {"createImage": {"name": "image", "metadata": {"a": "b"}}}, who="member")


def record(version: str) -> list[dict[str, Any]]:
    """Everything at one version, on a cloud of its own."""
    cloud = TestCloud()
    try:
        compute = Compute(cloud)
        assert isinstance(cloud.bus, LocalBus)
        cloud.bus.attach("one", node)
        ask = Recorder(compute, version)
        ask("GET", "/extensions")
        for part in (flavors, keypairs, servers_of, hosts, projects):
            part(ask)
        return ask.exchanges
    finally:
        cloud.close()


def evacuation(ask: Recorder, moving: Moving, server: str) -> None:
    """The server's host is lost, and its administrator says so."""
    lost = str(moving.record(server).host)
    moving.away.add(lost)
    service = moving.call("GET", f"/os-services?host={lost}&binary=nova-compute", who="admin").json["services"][0]["id"]
    assert moving.call("PUT", f"/os-services/{service}", {"forced_down": True}, who="admin").status == 200
    ask("POST", f"/servers/{server}/action", {"evacuate": {} if ask.at_least(14) else {"onSharedStorage": False}})
    moving.until(lambda: moving.record(server).host != lost and moving.record(server).next_step == "nothing", "it is elsewhere")
    ask("GET", f"/servers/{server}")
    newest = ask("GET", f"/servers/{server}/os-instance-actions")["instanceActions"][0]
    ask("GET", f"/servers/{server}/os-instance-actions/{newest['request_id']}")


def moves(version: str) -> list[dict[str, Any]]:
    """Servers that move, at one version."""
    cloud = TestCloud()
    moving = Moving(cloud)
    try:
        ask = Recorder(moving, version)
        live: dict[str, Any] = {"host": None, "block_migration": "auto" if ask.at_least(25) else True}
        live |= {} if ask.at_least(25) else {"disk_over_commit": False}
        server = moving.placed(flavor="dirty")
        ask("POST", f"/servers/{server}/action", {"os-migrateLive": live})
        number = moving.wait_move(server, "running").number
        ask("GET", "/os-migrations?status=running&migration_type=live-migration&host=h1")
        if ask.at_least(23):
            ask("GET", f"/servers/{server}/migrations")
            ask("GET", f"/servers/{server}/migrations/{number}")
            ask("POST", f"/servers/{server}/migrations/{number}/action", {"force_complete": None})
        else:
            moving.call("POST", f"/servers/{server}/migrations/{number}/action", {"force_complete": None}, who="admin")
        moving.wait_move(server, "completed")
        moving.wait(server)
        if ask.at_least(24):
            ask("POST", f"/servers/{server}/action", {"os-migrateLive": live})
            ask("DELETE", f"/servers/{server}/migrations/{moving.wait_move(server, 'running').number}")
            moving.wait_move(server, "cancelled")
            moving.wait(server)
        for word in ("confirmResize", "revertResize"):
            ask("POST", f"/servers/{server}/action", {"migrate": {"host": None} if ask.at_least(56) else None})
            moving.wait(server, "VERIFY_RESIZE")
            ask("GET", f"/servers/{server}", who="member")
            ask("POST", f"/servers/{server}/action", {word: None}, who="member")
            moving.wait(server)
        evacuation(ask, moving, server)
        ask("GET", "/os-migrations")
        ask("GET", f"/os-migrations?instance_uuid={server}&hidden=false&source_compute=h1")
        if ask.at_least(59):
            ask("GET", "/os-migrations?limit=1&changes-since=2020-01-01T00:00:00")
        return ask.exchanges
    finally:
        moving.close()
        cloud.close()


@pytest.mark.parametrize("version", ["2.1", "2.23", "2.25", "2.30", "2.59", "2.66", "2.80", "2.104"])
def test_answers_about_moves_are_what_novas_schemas_say(version: str, tmp_path: Path) -> None:
    check(moves(version), tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_are_what_novas_schemas_say(version: str, tmp_path: Path) -> None:
    check(record(version), tmp_path)


def check(exchanges: list[dict[str, Any]], tmp_path: Path) -> None:
    """Nova's schemas find nothing in what was said."""
    if not PYTHON:
        pytest.skip("PILEUS_NOVA_PYTHON does not name a python in whose environment nova is installed (see nova_schemas.py)")
    file = tmp_path / "exchanges.json"
    file.write_text(json.dumps(exchanges))
    script = Path(__file__).with_name("nova_schemas.py")
    ran = subprocess.run([PYTHON, str(script), str(file)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-3000:]


def test_the_newest_version_reaches_most_routes() -> None:
    recorded = {(one["method"], tuple(one["path"].strip("/").split("/"))) for one in record("2.104")}
    reached = 0
    candidates = [route for route in ROUTES if route.until is None and route.path.startswith("v2.1/")]
    for route in candidates:
        parts = route.path.removeprefix("v2.1/").split("/")
        if any(
            method == route.method
            and len(path) == len(parts)
            and all(want in (have, "") or want[0] == "{" for want, have in zip(parts, path, strict=True))
            for method, path in recorded
        ):
            reached += 1
    assert reached / len(candidates) > 0.7
