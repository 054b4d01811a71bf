"""A cloud of several processes on PostgreSQL and NATS: two Cloud Managers, two Cluster Managers, and a host that shares no files."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.bus import nkeys
from pileus.bus.authority import BusAuthority
from pileus.bus.connection import BusCredentials
from pileus.bus.nats import NatsBus
from pileus.cli.bus import found
from pileus.cli.client import Api, ApiError
from pileus.cli.daemons import Nats
from pileus.cli.node_process import answer
from pileus.cli.settings import load, remember
from pileus.node.agent import Agent
from pileus.node.hypervisor.simulated import SimulatedDriver
from pileus.node.images import ImageFetcher
from pileus.node.machine import SimulatedMachine
from pileus.node.network.simulated import SimulatedNetwork
from pileus.node.snapshots import SnapshotSender
from pileus.store.open import open_database
from tests import postgresql

SOURCE = Path(__file__).parents[2] / "src"
REVOKED_WITHIN, TAKEN_OVER_WITHIN = 6.0, 5.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.05)
    return found


class Process:
    """`pileus serve` in one role, with a state directory of its own."""

    def __init__(self, folder: Path, role: str, database: str, bus: str) -> None:
        self.state = folder
        self.listen = f"127.0.0.1:{free_port()}"
        self.role = role
        self._options = ["--role", role, "--listen", self.listen, "--database", database, "--bus", bus]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        output = self.state.with_suffix(".output").open("wb")
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(self.state), "serve", *self._options]
        with output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": str(SOURCE)}
            )

    def ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.said()
        return self.api_up() if self.role == "cloud" else (self.state / "log" / "pileus.log").exists()

    def api_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.listen}/cluster/v1/version", timeout=5) as answered:
                return bool(answered.status == 200)
        except OSError:
            return False

    def said(self) -> str:
        log = self.state / "log" / "pileus.log"
        return self.state.with_suffix(".output").read_text() + (log.read_text()[-3000:] if log.exists() else "")

    def api(self, user: str = "demo") -> Api:
        return Api(load(self.state), user, user)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Host:
    """An agent with simulated guests in a thread of its own; it has the bus and the first API, and no file of the managers."""

    def __init__(self, folder: Path, authority: BusAuthority, bus: str, api: str, shared_disks: bool = False) -> None:
        self.folder = folder
        self._shared_disks = shared_disks
        seed = nkeys.new_seed("user")
        self._credentials = BusCredentials(
            url=bus, cloud=authority.cloud, claims=authority.admit("one", nkeys.public_key(seed)), seed=seed,
            authority=authority.ca_certificate,
        )  # fmt: skip
        self._api = api
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()), daemon=True)
        self._thread.start()

    async def _run(self) -> None:
        agent = Agent("one", [SimulatedDriver()], SimulatedNetwork(), SimulatedMachine(), period=2.0)
        agent.shared_disks = self._shared_disks
        fetcher = ImageFetcher(self.folder / "fetched", self._api, self.folder / "base")
        sender = SnapshotSender(self.folder / "snapshots", self._api)
        bus = NatsBus(self._credentials, "one")
        await bus.open()
        await agent.start(bus.report)
        await bus.serve("one", lambda request: answer(agent, fetcher, sender, request))
        await self._stop.wait()
        await agent.close()
        await bus.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)


class Cloud:
    """All of it. `one` and `two` are Cloud Managers; `clusters` manage the same cluster, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        database, listen = postgresql.database(), f"127.0.0.1:{free_port()}"
        bus = f"tls://{listen}"
        self.one, self.two = (Process(folder / name, "cloud", database, bus) for name in ("one", "two"))
        self.clusters = [Process(folder / name, "cluster", database, bus) for name in ("three", "four")]
        authority, _ = asyncio.run(found(remember(self.one.state, database=database, bus=bus, listen=self.one.listen)))
        self.authority, self.bus = authority, bus
        self.nats = Nats(folder, listen)
        self.host: Host | None = None
        self.image = self.network = ""

    def start(self) -> None:
        self.nats.start(self.authority, {})
        self.one.start()
        until(self.one.ready, 60, "the first Cloud Manager")
        for process in (self.two, *self.clusters):
            process.start()
        for process in (self.two, *self.clusters):
            until(process.ready, 60, "a manager")
        self.host = Host(self.folder / "host", self.authority, self.bus, f"http://{self.one.listen}")
        admin = self.one.api("admin")
        until(lambda: any(host["state"] == "up" for host in admin.get("/cluster/v1/hosts")["hosts"]), 30, "the host")
        admin.post("/compute/v2.1/flavors", {"flavor": {"name": "small", "ram": 128, "vcpus": 1, "disk": 1, "id": "small"}})
        fields = {"name": "zeros", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        self.image = admin.post("/image/v2/images", fields)["id"]
        content = self.folder / "zeros"
        content.write_bytes(bytes(1 << 20))
        admin.upload(f"/image/v2/images/{self.image}/file", content, lambda part: None)
        demo = self.one.api()
        self.network = demo.post("/network/v2.0/networks", {"network": {"name": "n"}})["network"]["id"]
        demo.post("/network/v2.0/subnets", {"subnet": {"network_id": self.network, "ip_version": 4, "cidr": "10.9.0.0/24"}})

    def server(self, manager: Process, name: str) -> str:
        body = {"name": name, "flavorRef": "small", "imageRef": self.image, "networks": [{"uuid": self.network}]}
        return str(manager.api().post("/compute/v2.1/servers", {"server": body})["server"]["id"])

    def leader(self, name: str = "cluster/default") -> str:
        """Who holds the lease now; empty when it has run out."""
        leaders = self.two.api("admin").get("/cluster/v1/leaders")["leaders"]
        return next((str(one["holder"]) for one in leaders if one["name"] == name and one["seconds_left"] > 0), "")

    def close(self) -> None:
        if self.host is not None:
            self.host.close()
        for process in (*self.clusters, self.two, self.one):
            process.stop()
        self.nats.stop()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    if not shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("needs NATS's server: apt-get install nats-server")
    folder = tmp_path_factory.mktemp("processes")
    made = Cloud(folder)
    try:
        made.start()
        yield made
    finally:
        made.close()


def status(manager: Process, server: str) -> str:
    return str(manager.api().get(f"/compute/v2.1/servers/{server}")["server"]["status"])


def asked(manager: Process, token: str, method: str = "GET", path: str = "/identity/v3/auth/catalog", **headers: str) -> int:
    """The status of an answer to who shows this token."""
    request = urllib.request.Request(f"http://{manager.listen}{path}", headers={"X-Auth-Token": token, **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answered:
            return int(answered.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_token_of_one_manager_is_good_on_the_other_until_it_is_revoked_on_either(cloud: Cloud) -> None:
    api = cloud.one.api()
    api.login()
    token = str(api.token)
    assert asked(cloud.one, token) == asked(cloud.two, token) == 200
    assert asked(cloud.one, token, "DELETE", "/identity/v3/auth/tokens", **{"X-Subject-Token": token}) == 204
    assert asked(cloud.one, token) == 401
    until(lambda: asked(cloud.two, token) == 401, REVOKED_WITHIN, "the refusal by the other manager")


def test_a_server_asked_for_at_one_manager_is_started_by_the_cluster_and_seen_at_the_other(cloud: Cloud) -> None:
    server = cloud.server(cloud.two, "seen")
    until(lambda: status(cloud.one, server) == "ACTIVE", 30, "the server")
    shown = cloud.one.api("admin").get(f"/compute/v2.1/servers/{server}")["server"]
    assert shown["OS-EXT-SRV-ATTR:host"] == "one"


def test_who_stands_by_places_nothing_so_that_servers_wait_for_nobody(cloud: Cloud) -> None:
    leader = until(cloud.leader, 10, "a leader")
    idle = next(one for one in cloud.clusters if one.process is not None and not leader.endswith(f"/{one.process.pid}"))
    assert cloud.leader("placement") == leader
    holder = leader.replace(leader.rpartition("/")[2], str(idle.process.pid if idle.process else 0))

    async def take() -> None:
        """As if the one that stands by had been quicker."""
        db = open_database(load(cloud.one.state))
        try:
            await db.write(lambda tx: tx.execute("UPDATE leases SET holder = ? WHERE name = 'placement'", holder))
        finally:
            await db.close()

    asyncio.run(take())
    until(lambda: cloud.leader("placement") == leader, TAKEN_OVER_WITHIN, "placement by who leads")


def test_a_snapshot_of_a_host_that_shares_no_files_becomes_an_image(cloud: Cloud) -> None:
    server = cloud.server(cloud.one, "copied")
    until(lambda: status(cloud.one, server) == "ACTIVE", 30, "the server")
    made = cloud.one.api().post(f"/compute/v2.1/servers/{server}/action", {"createImage": {"name": "copy"}})

    def active() -> bool:
        return bool(cloud.two.api().get(f"/image/v2/images/{made['image_id']}")["status"] == "active")

    until(active, 30, "the image")
    assert cloud.host is not None
    until(lambda: list((cloud.host.folder / "snapshots").iterdir()) == [], 10, "the end of the copy on the host")  # type: ignore[union-attr]
    free = "OS-EXT-STS:task_state"
    until(lambda: cloud.one.api().get(f"/compute/v2.1/servers/{server}")["server"][free] is None, 20, "the end of the task")
    written = [file for one in cloud.clusters for file in one.state.rglob("*.qcow2*")]
    assert written == []


def test_another_cluster_manager_takes_over_from_one_that_is_killed(cloud: Cloud) -> None:
    leader = until(cloud.leader, 10, "a leader")
    killed = next(one for one in cloud.clusters if one.process is not None and leader.endswith(f"/{one.process.pid}"))
    assert killed.process is not None
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    for lease in ("cluster/default", "placement"):
        until(lambda lease=lease: cloud.leader(lease) not in ("", leader), TAKEN_OVER_WITHIN, f"another holder of {lease}")
    server = cloud.server(cloud.one, "after")
    until(lambda: status(cloud.two, server) == "ACTIVE", 30, "a server of the new leader")
    killed.start()  # and it may come back
    until(killed.ready, 60, "the manager that was killed")
    cloud.one.api().call("DELETE", f"/compute/v2.1/servers/{server}")

    def gone() -> bool:
        try:
            status(cloud.two, server)
        except ApiError as error:
            return error.data.get("status") == 404
        return False

    until(gone, 30, "the end of the server")


def test_a_cluster_process_of_a_database_without_migrations_says_what_to_do(cloud: Cloud, tmp_path: Path) -> None:
    alone = Process(tmp_path / "alone", "cluster", postgresql.database(), f"tls://{cloud.nats.listen}")
    alone.start()
    assert alone.process is not None
    assert alone.process.wait(60) == 1
    assert "serve --role cloud" in alone.said()
    assert json.loads((alone.state / "config.json").read_text())["bus"]
