"""GET /metrics of a whole cloud in one process, and what else may reach its port."""

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pileus.cli.client import Api
from pileus.cli.metrics import Metrics, NodeFigures, verified
from pileus.cli.settings import load, remember
from pileus.core.metrics import Family, gauge
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.hosts import HostReport
from pileus.model.verification import NamedBreach, Verification
from tests.exposition import Read, parse

SOURCE = Path(__file__).parents[2] / "src"


class Cloud:
    """Three simulated hosts, with metrics and a log in JSON."""

    def __init__(self, state: Path) -> None:
        self.state = state
        ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        listen, self.metrics = (f"127.0.0.1:{one.getsockname()[1]}" for one in ports)
        for one in ports:
            one.close()
        remember(state, listen=listen, simulate=3, metrics_listen=self.metrics, log_format="json")
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(state), "serve"]
        self.process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SOURCE)})
        self.until(lambda: self.api("admin").get("/cluster/v1/hosts")["hosts"][2]["state"] == "up")

    def until(self, condition: object) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if condition():  # type: ignore[operator]
                    return
            except Exception:  # it starts
                time.sleep(0.05)
        raise AssertionError("it did not come true")

    def api(self, user: str = "demo") -> Api:
        return Api(load(self.state), user, user)

    def ask(self, method: str = "GET", path: str = "/metrics") -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.metrics, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def read(self) -> dict[str, Read]:
        status, text = self.ask()
        assert status == 200
        return parse(text)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    one = Cloud(tmp_path_factory.mktemp("monitored") / "state")
    yield one
    one.process.terminate()
    one.process.wait(20)


def test_requests_are_counted_by_service_route_and_status(cloud: Cloud) -> None:
    api = cloud.api()
    before = cloud.read().get("pileus_requests_total", Read("counter")).total(service="neutron", route="GET /v2.0/networks", status="200")
    for _ in range(3):
        api.get("/network/v2.0/networks")
    after = cloud.read()
    assert after["pileus_requests_total"].total(service="neutron", route="GET /v2.0/networks", status="200") == before + 3
    assert after["pileus_request_seconds"].total(service="neutron", route="GET /v2.0/networks") == before + 3


def test_paths_that_are_none_make_no_series(cloud: Cloud) -> None:
    api = cloud.api()
    for number in range(5):
        with pytest.raises(Exception, match="404"):
            api.get(f"/compute/v2.1/never-{number}")
        with pytest.raises(Exception, match="404"):
            api.call("PUT", f"/nowhere-{number}", {})
    _, text = cloud.ask()
    assert "never-" not in text and "nowhere" not in text
    assert parse(text)["pileus_requests_total"].total(service="nova", route="", status="404") >= 5


def test_hosts_servers_reconcilers_and_the_process_are_there(cloud: Cloud) -> None:
    found = cloud.read()
    assert found["pileus_hosts"].total(state="up", enabled="true", cluster="default") == 3
    assert found["pileus_hosts_memory_bytes"].total() > 1 << 30
    assert found["pileus_reconcile_step_seconds"].total(kind="hosts") >= 3
    assert found["pileus_engine_tasks"].total() >= 16
    assert found["pileus_metrics_failures_total"].total() == 0
    assert found["process_resident_memory_bytes"].total() > 20 << 20
    assert found["process_cpu_seconds_total"].total() > 0.1
    assert abs(found["process_start_time_seconds"].total() - time.time()) < 300


def test_a_server_without_a_host_is_counted_and_logged_with_the_request_that_asked(cloud: Cloud) -> None:
    admin = cloud.api("admin")
    project = admin.call("GET", "/identity/v3/auth/projects")["projects"][0]["id"]
    admin.call("PUT", f"/compute/v2.1/os-quota-sets/{project}", {"quota_set": {"cores": -1}})
    admin.post("/compute/v2.1/flavors", {"flavor": {"name": "huge", "vcpus": 9999, "ram": 64, "disk": 1, "id": "huge"}})
    image = admin.post("/image/v2/images", {"name": "i", "disk_format": "raw", "container_format": "bare"})["id"]
    (cloud.state / "blank").write_bytes(bytes(4096))
    admin.upload(f"/image/v2/images/{image}/file", cloud.state / "blank", lambda part: None)
    body = {"server": {"name": "s", "imageRef": image, "flavorRef": "huge", "networks": "none"}}
    server = admin.post("/compute/v2.1/servers", body)["server"]["id"]
    cloud.until(lambda: admin.get(f"/compute/v2.1/servers/{server}")["server"]["status"] == "ERROR")
    found = cloud.read()
    assert found["pileus_placement_seconds"].total(outcome="refused") == 1
    request = admin.get(f"/compute/v2.1/servers/{server}/os-instance-actions")["instanceActions"][0]["request_id"]
    lines = [json.loads(line) for line in (cloud.state / "log" / "pileus.log").read_text().splitlines()]
    (line,) = [one for one in lines if server in one["message"]]
    assert line["request_id"] == request and line["level"] == "WARNING" and "vCPUs" in line["message"]
    audited = [json.loads(line) for line in (cloud.state / "log" / "audit.log").read_text().splitlines()]
    assert [one["route"] for one in audited if one["request_id"] == request] == ["/v2.1/servers"]


def test_nothing_but_the_metrics_is_there(cloud: Cloud) -> None:
    assert [cloud.ask(*asked)[0] for asked in (("GET", "/"), ("POST", "/metrics"), ("GET", "/identity/v3"))] == [404, 405, 404]
    assert cloud.ask("HEAD")[1] == ""


def test_a_client_that_says_nothing_or_too_much_is_left_and_others_are_served(cloud: Cloud) -> None:
    host, _, port = cloud.metrics.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(3)]
    with socket.create_connection((host, int(port))) as loud:
        loud.sendall(b"GET /" + b"x" * (64 << 10))
        loud.settimeout(5)
        try:
            assert loud.recv(100) == b""
        except ConnectionResetError:
            pass  # closed with bytes unread
    assert cloud.ask()[0] == 200
    for one in silent:
        one.close()


def test_a_source_that_fails_takes_no_other_with_it() -> None:
    def fails() -> list[Family]:
        raise RuntimeError("no")

    async def later() -> list[Family]:
        return [gauge("pileus_extra", "Of another part.", [({}, 7)])]

    found = parse(asyncio.run(Metrics(fails, later).text()))
    assert found["pileus_extra"].total() == 7
    assert found["pileus_metrics_failures_total"].total() == 1


def test_a_host_tells_its_own_figures() -> None:
    class Bus:
        connected_at = 0.0

    passed: list[HostReport] = []
    figures = NodeFigures(passed.append, Bus())
    guests = [ObservedGuest(id=str(number), power=ObservedPower.RUNNING if number else ObservedPower.STOPPED) for number in range(3)]
    report = HostReport(
        host="h", address="", version="", started_at=0.0, reported_at=1.0, vcpus=8, memory_mib=1024, disk_gib=10, guests=guests
    )
    figures.report(report)
    assert passed == [report]
    found = parse(asyncio.run(Metrics(figures.families).text()))
    assert found["pileus_node_guests"].total(power="running") == 2
    assert found["pileus_node_memory_bytes"].total() == 1 << 30
    assert found["pileus_bus_connected"].total() == 1


def test_no_write_that_was_answered_lacks_its_line_after_kill_9(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "state")
    api = cloud.api()
    made = {api.post("/network/v2.0/networks", {"network": {"name": f"n{number}"}})["network"]["id"] for number in range(20)}
    cloud.process.kill()
    cloud.process.wait(20)
    lines = [json.loads(line) for line in (cloud.state / "log" / "audit.log").read_text().splitlines()]
    assert {one["resource"][0] for one in lines if one["route"] == "/v2.0/networks"} == made


def test_what_verify_found_last_is_there_by_invariant() -> None:
    breaches = [NamedBreach(name=name, evidence="e", repairable=False) for name in ("one", "one", "two")]
    last = Verification(cluster="default", at=7.0, seconds=0.5, invariants=64, breaches=breaches)
    found = parse(asyncio.run(Metrics(lambda: verified(SimpleNamespace(verifier=SimpleNamespace(last=last)))).text()))  # type: ignore[arg-type]
    assert found["pileus_verify_breaches"].total(cluster="default") == 3
    assert found["pileus_verify_broken"].total(invariant="one") == 2
    assert found["pileus_verify_invariants"].total() == 64
    none = parse(asyncio.run(Metrics(lambda: verified(SimpleNamespace(verifier=None))).text()))  # type: ignore[arg-type]
    assert "pileus_verify_breaches" not in none
