"""Snapshots that a host sends to the API: signed addresses, repeats, broken uploads, and what the host says afterwards."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.api.cluster.routes import SERVICE
from pileus.bus.authority import BusAuthority, new_authority
from pileus.core.disk_headers import empty_qcow2
from pileus.model.messages import Failed, NodeReply, Snapshot, SnapshotDone
from pileus.node import snapshots
from pileus.node.snapshots import SnapshotSender
from tests.api.harness import TestCloud

CONTENT = empty_qcow2(1 << 30)


@pytest.fixture(scope="module")
def cloud() -> Iterator[TestCloud]:
    made = TestCloud(bus="nats://127.0.0.1:1")
    made.cloud.services = {**made.cloud.services, "cluster": SERVICE}
    made.cloud.authority = new_authority()
    yield made
    made.close()


def authority(cloud: TestCloud) -> BusAuthority:
    assert cloud.cloud.authority is not None
    return cloud.cloud.authority


def waiting(cloud: TestCloud) -> str:
    body = {"name": "s", "disk_format": "qcow2", "container_format": "bare"}
    return str(cloud.call("POST", "/image/v2/images", "member", json=body).json["id"])


def status(cloud: TestCloud, image: str) -> str:
    return str(cloud.call("GET", f"/image/v2/images/{image}", "member").json["status"])


def becomes(cloud: TestCloud, image: str, wanted: str) -> None:
    deadline = time.monotonic() + 10
    while status(cloud, image) != wanted:
        assert time.monotonic() < deadline


def sent(cloud: TestCloud, tmp_path: Path, image: str, address: str, api: str = "") -> NodeReply:
    """What the host replies once its copy is made and sent."""
    sender = SnapshotSender(tmp_path, api or cloud.url)
    request = Snapshot(guest_id="g", destination=f"/elsewhere/{image}.qcow2", upload=address)
    local = sender.localize(request)
    assert isinstance(local, Snapshot)
    Path(local.destination).write_bytes(CONTENT)
    made = SnapshotDone(path=local.destination, size=len(CONTENT), virtual_size=1 << 30)
    return asyncio.run(sender.deliver(request, made))


def test_a_hosts_copy_becomes_the_images_content_and_leaves_nothing_on_the_host(cloud: TestCloud, tmp_path: Path) -> None:
    image = waiting(cloud)
    reply = sent(cloud, tmp_path, image, authority(cloud).snapshot_address(image, time.time()))
    assert reply == SnapshotDone(path=f"/elsewhere/{image}.qcow2", size=len(CONTENT), virtual_size=1 << 30)
    assert status(cloud, image) == "active"
    assert cloud.call("GET", f"/image/v2/images/{image}/file", "member").body == CONTENT
    assert list(tmp_path.iterdir()) == []


def test_the_same_copy_sent_again_changes_nothing(cloud: TestCloud, tmp_path: Path) -> None:
    image = waiting(cloud)
    address = authority(cloud).snapshot_address(image, time.time())
    assert cloud.call("PUT", address, content=CONTENT).status == 204
    assert cloud.call("PUT", address, content=b"something else").status == 204
    assert cloud.call("GET", f"/image/v2/images/{image}/file", "member").body == CONTENT


def test_an_address_is_good_for_one_image_and_for_a_while(cloud: TestCloud) -> None:
    image, other = waiting(cloud), waiting(cloud)
    address = authority(cloud).snapshot_address(image, time.time())
    old = authority(cloud).snapshot_address(image, time.time() - 7 * 3600)
    stranger = new_authority().snapshot_address(image, time.time())
    content = authority(cloud).content_address(image, time.time()).replace("/content/", "/snapshots/")
    for wrong in (address.replace(image, other), address[:-1] + ("0" if address[-1] != "0" else "1"), old, stranger, content,
                  f"/cluster/v1/snapshots/{image}", f"/cluster/v1/snapshots/{image}?until=²&signature=é"):  # fmt: skip
        assert cloud.call("PUT", wrong, content=CONTENT).status == 403, wrong
    assert (status(cloud, image), status(cloud, other)) == ("queued", "queued")


def test_what_is_no_image_is_refused_and_the_host_says_so_and_keeps_nothing(cloud: TestCloud, tmp_path: Path) -> None:
    missing = "7c5a9d20-0000-4000-8000-000000000000"
    reply = sent(cloud, tmp_path, missing, authority(cloud).snapshot_address(missing, time.time()))
    assert isinstance(reply, Failed) and "404" in reply.reason
    image = waiting(cloud)
    answer = cloud.call("PUT", authority(cloud).snapshot_address(image, time.time()), content=b"no qcow2 at all")
    assert answer.status == 400
    assert status(cloud, image) == "queued"
    assert list(tmp_path.iterdir()) == []


def test_a_host_tries_again_until_the_api_is_reached(cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PAUSE", 0.05)
    image = waiting(cloud)
    refused = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as gate:

        def between() -> None:
            """Close the first connection at once, carry the second to the API."""
            gate.accept()[0].close()
            refused.set()
            client, _ = gate.accept()
            host, port = cloud.url.removeprefix("http://").split(":")
            with client, socket.create_connection((host, int(port))) as api:
                back = threading.Thread(target=lambda: [client.sendall(data) for data in iter(lambda: api.recv(65536), b"")], daemon=True)
                back.start()
                while data := client.recv(65536):
                    api.sendall(data)
                api.shutdown(socket.SHUT_WR)
                back.join(10)

        thread = threading.Thread(target=between, daemon=True)
        thread.start()
        api = f"http://127.0.0.1:{gate.getsockname()[1]}"
        reply = sent(cloud, tmp_path, image, authority(cloud).snapshot_address(image, time.time()), api)
        thread.join(10)
    assert isinstance(reply, SnapshotDone) and refused.is_set()
    assert status(cloud, image) == "active"


def test_a_copy_that_is_cut_off_is_not_taken_and_the_next_attempt_is(cloud: TestCloud) -> None:
    image = waiting(cloud)
    address = authority(cloud).snapshot_address(image, time.time())
    host, port = cloud.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as one:
        head = f"PUT {address} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        one.sendall(head.encode() + CONTENT[:1000])
        becomes(cloud, image, "saving")
    becomes(cloud, image, "queued")
    assert cloud.call("PUT", address, content=CONTENT).status == 204
    assert status(cloud, image) == "active"
    assert cloud.call("GET", f"/image/v2/images/{image}/file", "member").body == CONTENT
