"""Three hosts by one command: they are there, join by a token only, are emptied and taken back; a second cluster beside them."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from pileus.cli.client import Api
from pileus.cli.down import stop
from pileus.cli.settings import load
from tests.real.cluster.host_cluster import HOSTS, Cluster, Connection
from tests.real.real_cloud import boots, gone, until


def test_three_hosts_are_there_with_a_first_server_that_answers(cluster: Cluster) -> None:
    services = {one.host: one.state for one in cluster.admin().compute.services(binary="nova-compute")}
    assert services == {"h1": "up", "h2": "up", "h3": "up"}
    assert cluster.ssh(cluster.address(), "hostname") == "hello"
    assert "tls://" in cluster.pileus("up", "--hosts", str(HOSTS), "--detach").stderr  # again: it says what it found
    cluster.verify()


def test_a_host_is_emptied_for_maintenance_and_taken_back(cluster: Cluster) -> None:
    host = cluster.host()
    connection = Connection(cluster)
    try:
        planned = cluster.pileus("host", "drain", host, "--plan").stdout
        assert "hello" in planned and "live migration" in planned
        assert cluster.host() == host
        assert f"{host} is empty" in cluster.pileus("host", "drain", host, "--yes").stdout
        assert cluster.host() != host
        connection.goes_on()
    finally:
        connection.close()
    compute = cluster.admin().compute
    cluster.ssh(cluster.address(), "sudo sh -c 'echo asleep > /run/note'")
    compute.suspend_server(cluster.server_id)
    compute.wait_for_server(compute.get_server(cluster.server_id), status="SUSPENDED", wait=60)
    cluster.pileus("host", "enable", host)
    cluster.pileus("host", "drain", cluster.host(), "--yes")
    compute.resume_server(cluster.server_id)
    compute.wait_for_server(compute.get_server(cluster.server_id), status="ACTIVE", wait=60)
    assert cluster.ssh(cluster.address(), "cat /run/note", timeout=60) == "asleep"  # its memory came along
    for one in cluster.admin().compute.services(binary="nova-compute"):
        cluster.pileus("host", "enable", one.host)
    refused = cluster.pileus("host", "remove", cluster.host(), check=False)
    assert refused.returncode == 1 and "Empty it first" in refused.stderr
    assert {one.status for one in cluster.admin().compute.services(binary="nova-compute")} == {"enabled"}


def test_a_token_lets_one_host_in_and_a_wrong_one_nobody(cluster: Cluster, tmp_path: Path) -> None:
    fabric = cluster.fabric
    address = f"http://{load(cluster.state).host_listen}"

    def joins(token: str, name: str, clock: float = 0.0, version: str = "") -> subprocess.CompletedProcess[str]:
        program = (
            "import sys, time, pathlib; import pileus; from pileus.cli import node_process\n"
            f"now = time.time\ntime.time = lambda: now() + {clock}\n"
            + (f"pileus.__version__ = {version!r}\n" if version else "")
            + f"print(node_process.join(pathlib.Path(sys.argv[1]), sys.argv[2], {address!r}).cluster)"
        )
        inside = ["nsenter", f"--net=/run/netns/{fabric.namespace('h1')}", sys.executable]
        command = [*inside, "-c", program, str(tmp_path / name), token]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PILEUS_HOST": name})

    def made() -> str:
        return str(json.loads(cluster.pileus("host", "token", "--json").stdout)["token"])

    assert "unknown" in joins("nonsense", "h9").stderr
    assert "clock of h9 is 600 s ahead" in joins(made(), "h9", clock=600).stderr
    assert "Install the same version" in joins(made(), "h9", version="0.0.1").stderr
    assert "is in this cloud and up" in joins(made(), "h1").stderr
    token = made()
    assert joins(token, "h9").stdout.strip() == "default"
    assert "used by another host" in joins(token, "h8").stderr


def test_a_second_cluster_has_its_own_manager_and_hosts(cluster: Cluster, tmp_path: Path) -> None:
    config, fabric = load(cluster.state), cluster.fabric
    assert config.database is not None and config.bus is not None
    command = [sys.executable, "-m", "pileus.cli.main", "--state", str(tmp_path / "east"), "serve", "--role", "cluster", "--name", "east"]
    command += ["--database", config.database, "--bus", config.bus]
    connection = cluster.admin()
    network = cluster.connect().network.find_network("private").id

    def listed() -> str:
        return cluster.pileus("host", "list").stdout

    def manager() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until(lambda: any("cluster/east: led by" in line and "for" in line for line in listed().splitlines()), 30, "a leader")
        return process

    def up() -> set[str]:
        return {str(one.host) for one in connection.compute.services(binary="nova-compute") if one.state == "up"}

    process = manager()
    try:
        fabric.connect(4, "h4")
        fabric.start("h4", Api(config, "admin", "admin"), "east")
        until(lambda: "h4" in up(), 30, "h4")
        server = boots(connection, "eastern", network, availability_zone="nova:h4")
        assert server.status == "ACTIVE"
        process.kill()
        process.wait()
        connection.compute.pause_server(server)
        process = manager()  # the other cluster's manager did not do its work; now it is done
        paused = connection.compute.wait_for_server(connection.compute.get_server(server.id), status="PAUSED", wait=60)
        assert paused.compute_host == "h4"
        cluster.verify()
        gone(connection, server)
    finally:
        process.terminate()
        process.wait()
        stop(fabric.directory("h4"))
        until(lambda: "h4" not in up(), 60, "the loss of h4")
        assert "Host h4 is down" in cluster.pileus("verify").stdout
        cluster.pileus("host", "remove", "h4")
        fabric.remove("h4")
    cluster.verify()


def test_nothing_of_the_cluster_listens_where_it_was_not_asked_to(cluster: Cluster) -> None:
    for port in (4222, 5432):
        with socket.socket() as one:
            one.settimeout(2)
            assert one.connect_ex(("127.0.0.1", port)) != 0


def names(cluster: Cluster) -> dict[str, str]:
    return {str(one.host): str(one.state) for one in cluster.admin().compute.services(binary="nova-compute")}


def test_a_removed_host_does_not_come_back_by_itself_and_does_when_it_joins_anew(cluster: Cluster) -> None:
    gone = next(name for name in sorted(names(cluster)) if name != cluster.host())
    member = cluster.fabric.directory(gone) / "secrets" / "node.json"
    kept = member.with_name("kept.json")
    shutil.copy(member, kept)
    cluster.pileus("host", "fence", gone)
    until(lambda: names(cluster)[gone] == "down", 60, "the loss of the host")
    assert "void" in cluster.pileus("host", "remove", gone).stdout
    assert gone not in names(cluster)
    kept.rename(member)  # as a machine that was out of reach when it was removed
    inside = ["nsenter", f"--net=/run/netns/{cluster.fabric.namespace(gone)}", sys.executable, "-m", "pileus.cli.main"]
    command = [*inside, "--state", str(cluster.fabric.directory(gone))]
    environment: dict[str, Any] = {**os.environ, "PILEUS_HOST": gone}
    agent = subprocess.Popen([*command, "serve", "--role", "node"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        log = cluster.fabric.directory(gone) / "log" / "pileus.log"
        until(lambda: log.exists() and "Authorization Violation" in log.read_text(), 30, "the refusal")
        told = subprocess.run([*command, "doctor"], env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert told.returncode == 1 and "this host was removed" in told.stdout
        assert gone not in names(cluster)
    finally:
        agent.terminate()
        agent.wait(30)
    member.unlink()
    cluster.up("--hosts", "3")
    assert names(cluster)[gone] == "up"
    cluster.verify()
