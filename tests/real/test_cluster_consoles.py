"""What a user and an operator have of hosts that share no files with the managers: consoles, snapshots, a host removed for good."""

import os
import shutil
import subprocess
import sys
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.real.real_cloud import until
from tests.real.test_cluster import Cluster, cluster

__all__ = ["cluster"]  # the fixture
BINARY = [Subprotocol("binary")]


def heard(socket: ClientConnection) -> bytes:
    data = socket.recv(timeout=20)
    assert isinstance(data, bytes)
    return data


def names(cluster: Cluster) -> dict[str, str]:
    return {str(one.host): str(one.state) for one in cluster.admin().compute.services(binary="nova-compute")}


def test_both_consoles_of_a_server_on_another_host_are_reached(cluster: Cluster) -> None:
    demo = cluster.connect()
    server = demo.compute.get_server(cluster.hello().id)
    url = demo.compute.create_console(server, console_type="novnc")["url"].replace("http://", "ws://")
    with connect(url, subprotocols=BINARY, open_timeout=10) as socket:
        assert heard(socket).startswith(b"RFB 003.")
    for _ in range(2):  # the second finds the socket that the first has let go of
        url = demo.compute.create_console(server, console_type="serial")["url"]
        with connect(url, subprotocols=BINARY, open_timeout=10) as socket:
            socket.send(b"\r\n")
            seen = b""
            while b"login" not in seen:
                seen += heard(socket)


def test_a_snapshot_is_sent_by_its_host_and_boots_nothing_else_there(cluster: Cluster) -> None:
    demo = cluster.connect()
    image = demo.compute.create_server_image(cluster.hello().id, "sent", wait=True, timeout=180)
    found = demo.image.get_image(image.id)
    assert (found.status, found.disk_format) == ("active", "qcow2") and found.size > 1 << 20
    hosts = cluster.state / "hosts"
    assert [file for file in hosts.glob("*/node/snapshots/*") if file.is_file()] == []
    cluster.verify()


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
