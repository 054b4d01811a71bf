"""Managers of a cloud of several processes, started by root: each is enclosed; root's process beside it looks after it, and fences."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.cli.bus import found
from pileus.cli.daemons import Nats
from pileus.cli.separation.child import pid_of_other
from pileus.cli.separation.ownership import user_of
from pileus.cli.separation.root_process import OF_SUPERVISOR
from pileus.cli.settings import load, remember
from tests import postgresql
from tests.driver.test_cloud_processes import Host, Process, free_port, until
from tests.driver.test_separation import ended, of_status

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a process that gives it up")]

FENCE = """#!/bin/sh
echo "$(id -u) $PILEUS_HOST [$PILEUS_ADDRESS] $PILEUS_FENCE_PASSWORD $(grep CapEff /proc/self/status)" > {said}.new && mv {said}.new {said}
echo "the plug of $PILEUS_HOST is pulled"
"""
NAMESPACES = ("mnt", "pid", "ipc", "uts")


class Separated:
    """One Cloud Manager, one Cluster Manager, and a host; both managers are two processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        database, listen = postgresql.database(), f"127.0.0.1:{free_port()}"
        bus = f"tls://{listen}"
        self.cloud, self.cluster = (Process(folder / name, name, database, bus) for name in ("cloud", "cluster"))
        self.managers = {"cloud": self.cloud, "cluster": self.cluster}
        self.authority, _ = asyncio.run(found(remember(self.cloud.state, database=database, bus=bus, listen=self.cloud.listen)))
        remember(self.cluster.state, database=database, bus=bus, listen=self.cluster.listen)
        self.fenced, self.bus = folder / "fenced", bus
        self.nats = Nats(folder, listen)
        for one in self.managers.values():
            settings = json.loads((one.state / "config.json").read_text())
            settings |= {"node_silence": 6.0, "evacuate": "all"}
            if one is self.cluster:
                settings["fencing"] = {"*": f"command:{self._program()}"}
            (one.state / "config.json").write_text(json.dumps(settings))
        (self.cluster.state / "secrets").mkdir(mode=0o700)
        (self.cluster.state / "secrets" / "fencing.json").write_text('{"one": "of-the-board"}')
        (self.cluster.state / "secrets" / "fencing.json").chmod(0o600)

    def _program(self) -> Path:
        program = self.folder / "fence"
        program.write_text(FENCE.format(said=self.fenced))
        program.chmod(0o700)
        return program

    def start(self) -> None:
        self.nats.start(self.authority, {})
        for one in self.managers.values():
            self.begin(one)

    def begin(self, one: Process) -> None:
        before = pid_of_other(one.state)
        one.start()
        until(lambda: one.ready() and pid_of_other(one.state) not in (None, before), 60, "a manager")
        if one is self.cluster:
            assert one.process is not None
            own = str(one.process.pid)
            until(lambda: [each.rpartition("/")[2] for each in self.leaders()] == [own], 30, "its lead")

    def leaders(self) -> list[str]:
        leaders = self.cloud.api("admin").get("/cluster/v1/leaders")["leaders"]
        return [str(each["holder"]) for each in leaders if each["name"] == "cluster/default" and each["seconds_left"] > 0]

    def close(self) -> None:
        for one in self.managers.values():
            one.stop()
        self.nats.stop()


@pytest.fixture(scope="module")
def separated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Separated]:
    if not shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("needs NATS's server: apt-get install nats-server")
    made = Separated(tmp_path_factory.mktemp("roles"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def root_of(one: Process) -> int:
    assert one.process is not None
    return one.process.pid


def other_of(one: Process) -> int:
    pid = pid_of_other(one.state)
    assert pid is not None
    return pid


@pytest.mark.parametrize("role", ["cloud", "cluster"])
def test_a_manager_is_a_process_without_privileges_beside_one_of_root_that_listens_to_nobody(separated: Separated, role: str) -> None:
    one = separated.managers[role]
    inner, outer = of_status(other_of(one)), of_status(root_of(one))
    user = str(user_of(load(one.state)))
    assert inner["Uid"].split() == inner["Gid"].split() == [user] * 4
    assert {int(inner[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (inner["Groups"], inner["NoNewPrivs"], inner["Seccomp"]) == ("", "1", "2")
    for name in NAMESPACES:
        assert os.readlink(f"/proc/{other_of(one)}/ns/{name}") != os.readlink(f"/proc/{root_of(one)}/ns/{name}"), name
    assert "without" not in (one.state / "log" / "pileus.log").read_text().replace("without privileges", ""), "nothing of it is missing"
    listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"}
    mine = {os.readlink(each) for each in Path(f"/proc/{root_of(one)}/fd").iterdir() if each.exists()}
    assert not {f"socket:[{inode}]" for inode in listening} & mine
    if role == "cloud":  # the other one runs the operator's command, which may need anything
        kept = sum(1 << number for number in OF_SUPERVISOR.values())
        assert {int(outer[name], 16) & ~kept for name in ("CapPrm", "CapEff", "CapBnd")} == {0}


def test_the_api_answers_and_a_cluster_is_led_by_a_process_that_others_tell_apart(separated: Separated) -> None:
    assert separated.cloud.api().get("/compute/v2.1/servers")["servers"] == []
    assert [one.rpartition("/")[2] for one in separated.leaders()] == [str(root_of(separated.cluster))]
    clouds = separated.cloud.state / "clouds.yaml"
    assert (clouds.stat().st_uid, clouds.stat().st_mode & 0o777) == (0, 0o600)


def test_a_lost_host_is_fenced_by_root_with_the_operators_command_and_a_password_that_the_managers_never_see(separated: Separated) -> None:
    secret = separated.cluster.state / "secrets" / "fencing.json"
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (0, 0o600)
    host = Host(separated.folder / "host", separated.authority, separated.bus, f"http://{separated.cloud.listen}", shared_disks=True)
    try:
        admin = separated.cloud.api("admin")
        until(lambda: any(one["state"] == "up" for one in admin.get("/cluster/v1/hosts")["hosts"]), 30, "the host")
        admin.post("/compute/v2.1/flavors", {"flavor": {"name": "small", "ram": 128, "vcpus": 1, "disk": 0, "id": "small"}})
        image = admin.post("/image/v2/images", {"name": "zeros", "disk_format": "raw", "container_format": "bare"})["id"]
        (separated.folder / "zeros").write_bytes(bytes(1 << 20))
        admin.upload(f"/image/v2/images/{image}/file", separated.folder / "zeros", lambda part: None)
        body = {"name": "lost", "flavorRef": "small", "imageRef": image, "networks": "none"}
        headers = {"OpenStack-API-Version": "compute 2.37"}
        server = admin.call("POST", "/compute/v2.1/servers", {"server": body}, headers)["server"]["id"]
        until(lambda: admin.get(f"/compute/v2.1/servers/{server}")["server"]["status"] == "ACTIVE", 30, "the server")
    finally:
        host.close()
    headers = {"OpenStack-API-Version": "compute latest"}
    service = admin.call("GET", "/compute/v2.1/os-services?binary=nova-compute&host=one", None, headers)["services"][0]["id"]
    admin.call("PUT", f"/compute/v2.1/os-services/{service}", {"forced_down": True}, headers)  # silence of the only host says nothing
    until(separated.fenced.exists, 60, "the fencing")
    user, name, address, password, _, capabilities = separated.fenced.read_text().split()
    assert (user, name, address, password) == ("0", "one", "[]", "of-the-board")
    assert int(capabilities, 16) == int(of_status(os.getpid())["CapEff"], 16), "it can do what root can"
    log = separated.cluster.state / "log" / "pileus.log"
    until(lambda: "host one gave no sign of life and was fenced by command" in log.read_text(), 20, "the word of it")


@pytest.mark.parametrize("killed", ["root", "other"])
@pytest.mark.parametrize("role", ["cloud", "cluster"])
def test_when_one_is_killed_the_other_ends_and_starting_again_is_the_recovery(separated: Separated, role: str, killed: str) -> None:
    one = separated.managers[role]
    assert one.process is not None
    other = other_of(one)
    os.kill(one.process.pid if killed == "root" else other, signal.SIGKILL)
    assert ended(other)
    assert one.process.wait(30) == (-signal.SIGKILL if killed == "root" else 1)
    separated.begin(one)
    assert other_of(one) != other
    assert separated.cloud.api().get("/compute/v2.1/servers")["servers"] == []
    if killed == "root":
        command = [sys.executable, "-m", "pileus.cli.main", "--state", str(one.state), "status", "--json"]
        said = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
        assert said["api"] == (f"http://{one.listen}" if role == "cloud" else None)
        assert said["processes"] == {"supervisor, as root": root_of(one), "managers, without privileges": other_of(one)}
