"""What a user has of hosts that share no files with the managers: consoles, snapshots."""

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.real.cluster.host_cluster import Cluster

BINARY = [Subprotocol("binary")]


def heard(socket: ClientConnection) -> bytes:
    data = socket.recv(timeout=20)
    assert isinstance(data, bytes)
    return data


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
