"""Content: uploads, downloads, what is refused, what a crash or a race leaves."""

import errno
import hashlib
import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pileus.api.image import content, imports
from pileus.api.image import files as image_files
from pileus.api.image.content import begin, ingest_file
from pileus.model.errors import Conflict, Invalid
from pileus.model.image_stores import ImageSettings
from pileus.model.images import ImageStatus
from pileus.reconcile.server_inputs import guest_on
from pileus.store import images as store
from pileus.store import servers
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud
from tests.api.image.calls import IMAGES, OCTETS, active, create, files, import_staged, patch, show, upload

MIB = 1 << 20
QCOW2 = (struct.pack(">4sIQIIQI", b"QFI\xfb", 3, 0, 0, 16, 10 * MIB, 0).ljust(72, b"\0") + struct.pack(">QQQII", 0, 0, 0, 4, 104)).ljust(
    65536, b"\0"
)
BACKED = QCOW2[:8] + struct.pack(">QI", 200, 10) + QCOW2[20:]


def file_of(cloud: TestCloud, image: dict[str, str], headers: dict[str, str] | None = None, token: str = "member", method: str = "GET"):
    return cloud.call(method, f"{IMAGES}/{image['id']}/file", token=token, headers=headers)


def until_status(cloud: TestCloud, image: dict[str, str], status: str) -> None:
    deadline = time.monotonic() + 20
    while show(cloud, image)["status"] != status:
        assert time.monotonic() < deadline, show(cloud, image)
        time.sleep(0.01)


def test_what_is_uploaded_is_downloaded(cloud: TestCloud) -> None:
    data = bytes(range(256)) * 5000
    image = create(cloud)
    assert file_of(cloud, image).status == 204  # nothing there yet
    answer = upload(cloud, image, data)
    assert answer.status == 204 and answer.body == b""
    shown = show(cloud, image)
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", len(data), len(data))
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
    got = file_of(cloud, image)
    assert got.status == 200 and got.body == data
    assert got.headers["content-md5"] == shown["checksum"] and got.headers["content-length"] == str(len(data))
    assert got.headers["content-type"] == "application/octet-stream"
    head = file_of(cloud, image, method="HEAD")
    assert head.status == 200 and head.body == b"" and head.headers["content-length"] == str(len(data))
    assert files(cloud) == [hashlib.sha256(data).hexdigest()]


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=990-", 990, 999), ("bytes=-10", 990, 999), ("bytes=5-5000", 5, 999), ("bytes=-5000", 0, 999)],
)
def test_a_part_of_an_image_is_downloaded(shared_cloud: TestCloud, header: str, first: int, last: int) -> None:
    data = bytes(index % 251 for index in range(1000))
    part = file_of(shared_cloud, active(shared_cloud, data=data), {"Range": header})
    assert part.status == 206 and part.body == data[first : last + 1]
    assert part.headers["content-range"] == f"bytes {first}-{last}/1000"
    assert part.headers["content-length"] == str(len(part.body))


def test_a_range_outside_is_refused_and_an_odd_one_ignored(shared_cloud: TestCloud) -> None:
    image = active(shared_cloud, data=b"0123456789")
    outside = file_of(shared_cloud, image, {"Range": "bytes=10-"})
    assert outside.status == 416 and outside.headers["content-range"] == "bytes */10"
    for header in ("bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=5-2"):
        assert file_of(shared_cloud, image, {"Range": header}).status == 200


def test_content_comes_once_as_bytes_for_an_image_that_says_what_it_is(cloud: TestCloud) -> None:
    image = active(cloud)
    again = upload(cloud, image, b"other")
    assert again.status == 409 and b"from active to saving" in again.body
    assert upload(cloud, create(cloud), b"x", headers={"content-type": "text/plain"}).status == 415
    assert upload(cloud, create(cloud), b"x", headers={}).status == 415
    formless = upload(cloud, create(cloud, disk_format=None), b"x")
    assert formless.status == 400 and b"disk_format must be set" in formless.body


@pytest.mark.parametrize(
    ("data", "words"), [(BACKED, b"names a backing file"), (b"plain bytes", b"looks like a raw disk"), (b"", b"looks like a raw disk")]
)
def test_content_that_is_not_to_be_trusted_is_refused_and_leaves_nothing(cloud: TestCloud, data: bytes, words: bytes) -> None:
    image = create(cloud, disk_format="qcow2")
    refused = upload(cloud, image, data)
    assert refused.status == 400 and words in refused.body
    assert show(cloud, image) | {"updated_at": ""} == image | {"updated_at": ""}
    assert files(cloud) == []
    assert upload(cloud, image, QCOW2).status == 204
    assert show(cloud, image)["virtual_size"] == 10 * MIB


def test_equal_content_is_stored_once_and_stays_while_one_image_has_it(cloud: TestCloud) -> None:
    one, two = active(cloud, "one"), active(cloud, "two")
    assert len(files(cloud)) == 1
    assert cloud.call("DELETE", f"{IMAGES}/{one['id']}", token="member").status == 204
    assert file_of(cloud, two).body == b"content"
    assert cloud.call("DELETE", f"{IMAGES}/{two['id']}", token="member").status == 204
    assert files(cloud) == []


def test_too_large_content_is_refused(tmp_path: Path) -> None:
    cloud = TestCloud(image_size_limit=1000)
    try:
        image = create(cloud)
        assert upload(cloud, image, b"x" * 1001).status == 413
        assert upload(cloud, image, b"x" * 1001, headers={**OCTETS, "content-length": "1001"}).status == 413
        assert show(cloud, image)["status"] == "queued" and files(cloud) == []
        assert upload(cloud, image, b"x" * 1000).status == 204
    finally:
        cloud.close()


@pytest.mark.parametrize(("reason", "status"), [(errno.ENOSPC, 413), (errno.EIO, 503)])
def test_a_full_or_broken_store_is_told_and_leaves_nothing(
    cloud: TestCloud, monkeypatch: pytest.MonkeyPatch, reason: int, status: int
) -> None:
    def broken(self: image_files.Intake, data: bytes) -> None:
        raise OSError(reason, os.strerror(reason))

    image = create(cloud)
    with monkeypatch.context() as patched:
        patched.setattr(image_files.Intake, "write", broken)
        assert upload(cloud, image, bytes(5 * MIB)).status == status
    assert show(cloud, image)["status"] == "queued" and files(cloud) == []
    assert upload(cloud, image, b"x").status == 204


def test_a_deactivated_image_is_kept_from_all_but_admins(cloud: TestCloud) -> None:
    image = active(cloud)
    action = f"{IMAGES}/{image['id']}/actions"
    assert cloud.call("POST", f"{action}/deactivate", token="member").status == 204
    assert show(cloud, image)["status"] == "deactivated"
    assert file_of(cloud, image).status == 403
    assert file_of(cloud, image, token="admin").status == 200
    assert cloud.call("POST", f"{action}/reactivate", token="member").status == 204
    assert file_of(cloud, image).status == 200
    queued = f"{IMAGES}/{create(cloud)['id']}/actions/deactivate"
    assert cloud.call("POST", queued, token="member").status == 403


def test_staged_content_is_imported(cloud: TestCloud) -> None:
    image = create(cloud, disk_format="qcow2")
    path = f"{IMAGES}/{image['id']}"
    direct = {"method": {"name": "glance-direct"}}
    assert cloud.call("POST", f"{path}/import", token="member", json=direct).status == 409
    assert cloud.call("PUT", f"{path}/stage", token="member", content=QCOW2, headers=OCTETS).status == 204
    assert show(cloud, image)["status"] == "uploading"
    assert cloud.call("POST", f"{path}/import", token="member", json={"method": {"name": "magic"}}).status == 400
    assert cloud.call("POST", f"{path}/import", token="member", json=direct).status == 202
    assert show(cloud, image)["status"] == "active"
    assert files(cloud) == [hashlib.sha256(QCOW2).hexdigest()]


def test_staged_content_that_is_refused_goes(cloud: TestCloud) -> None:
    image = create(cloud, disk_format="qcow2")
    path = f"{IMAGES}/{image['id']}"
    cloud.call("PUT", f"{path}/stage", token="member", content=BACKED, headers=OCTETS)
    refused = import_staged(cloud, image)
    assert refused.status == 400 and b"backing file" in refused.body
    assert show(cloud, image)["status"] == "queued" and files(cloud) == []


def test_an_upload_that_breaks_off_leaves_nothing(cloud: TestCloud) -> None:
    image = create(cloud)
    address = urlsplit(cloud.url)
    request = (
        f"PUT {IMAGES}/{image['id']}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cloud.token('member')}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {8 * MIB}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(request.encode() + bytes(3 * MIB))
        until_status(cloud, image, "saving")
        second = upload(cloud, image, b"x")
        assert second.status == 409
    until_status(cloud, image, "queued")
    assert files(cloud) == []
    assert upload(cloud, image, b"x").status == 204


def test_an_image_deleted_while_it_is_uploaded_is_gone(cloud: TestCloud) -> None:
    image = create(cloud)

    def body() -> Iterator[bytes]:
        yield bytes(MIB)
        until_status(cloud, image, "saving")
        assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="member").status == 204
        yield bytes(MIB)

    status, _ = put(cloud, image, body())
    assert status == 410
    assert files(cloud) == []


def put(cloud: TestCloud, image: dict[str, str], body: Iterator[bytes]) -> tuple[int, bytes]:
    """Upload over a socket, as chunks."""
    address = urlsplit(cloud.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120)
    headers = {"X-Auth-Token": cloud.token("member"), "Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
    connection.request("PUT", f"{IMAGES}/{image['id']}/file", body=body, headers=headers, encode_chunked=True)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def peak_memory() -> int:
    """The most memory that this process has had since `forget_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def test_a_large_image_passes_in_constant_memory_both_ways(cloud: TestCloud) -> None:
    size = 512 * MIB
    image, block = create(cloud), bytes(range(256)) * 4096
    wanted, seen = hashlib.md5(), hashlib.md5()

    def body() -> Iterator[bytes]:
        for _ in range(size // MIB):
            wanted.update(block)
            yield block

    forget_peak()
    before = peak_memory()
    assert put(cloud, image, body())[0] == 204
    assert show(cloud, image)["size"] == size
    address = urlsplit(cloud.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120)
    connection.request("GET", f"{IMAGES}/{image['id']}/file", headers={"X-Auth-Token": cloud.token("member")})
    answer = connection.getresponse()
    while data := answer.read(MIB):
        seen.update(data)
    connection.close()
    assert seen.digest() == wanted.digest()
    assert peak_memory() - before < 48 * MIB


def test_a_slow_reader_does_not_fill_the_memory(cloud: TestCloud) -> None:
    image = active(cloud, data=bytes(64 * MIB))
    address = urlsplit(cloud.url)
    forget_peak()
    before = peak_memory()
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        request = f"GET {IMAGES}/{image['id']}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cloud.token('member')}\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
        assert show(cloud, image)["status"] == "active"  # others are served meanwhile
    assert peak_memory() - before < 24 * MIB


def test_a_reader_that_goes_away_ends_the_reading(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    image = active(cloud, data=bytes(64 * MIB))
    ended: list[int] = []
    original = content.read

    async def watched(*of: Any) -> AsyncIterator[bytes]:
        sent = 0
        try:
            async for data in original(*of):
                sent += len(data)
                yield data
        finally:
            ended.append(sent)

    monkeypatch.setattr(content, "read", watched)
    address = urlsplit(cloud.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        request = f"GET {IMAGES}/{image['id']}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cloud.token('member')}\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 20
    while not ended:
        assert time.monotonic() < deadline, "the file is still being read"
        time.sleep(0.01)
    assert ended[0] < 32 * MIB


def test_content_outlives_races_of_uploads_and_deletions(cloud: TestCloud) -> None:
    def one_life(number: int) -> bytes:
        image = create(cloud, f"image {number}")
        assert upload(cloud, image, b"the same").status == 204
        data = file_of(cloud, image).body
        assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="member").status == 204
        return data

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(one_life, range(80))) == {b"the same"}
    assert files(cloud) == []


def test_after_a_crash_broken_uploads_wait_again_and_orphans_go(cloud: TestCloud) -> None:
    kept, saving, staged, lost = active(cloud), create(cloud), create(cloud), create(cloud)
    directory = cloud.cloud.images
    for image, status in ((saving, ImageStatus.SAVING), (lost, ImageStatus.UPLOADING)):
        row = cloud.run(store.IMAGES.get(cloud.db, image["id"]))
        assert row
        cloud.run(begin(cloud.cloud, row, status))
    path = f"{IMAGES}/{staged['id']}/stage"
    assert cloud.call("PUT", path, token="member", content=b"staged", headers=OCTETS).status == 204
    (directory / image_files.UPLOADS / "half").write_bytes(b"x")
    (directory / image_files.STAGED / saving["id"]).write_bytes(b"x")
    (directory / ("0" * 64)).write_bytes(b"orphan")
    again = cloud.run(image_files.recover(cloud.db, {"local": directory}))
    assert set(again) == {saving["id"], lost["id"]}
    assert [show(cloud, one)["status"] for one in (kept, saving, staged, lost)] == ["active", "queued", "uploading", "queued"]
    assert len(files(cloud)) == 2  # of `kept` and `staged`
    assert file_of(cloud, kept).body == b"content"
    assert cloud.run(image_files.recover(cloud.db, {"local": directory})) == []


def test_a_file_of_this_machine_becomes_an_image(cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / "snapshot"
    source.write_bytes(QCOW2)
    image = create(cloud, disk_format="qcow2")
    made = cloud.run(ingest_file(cloud.cloud, image["id"], source))
    assert made.status == ImageStatus.ACTIVE and made.virtual_size == 10 * MIB
    assert not source.exists() and files(cloud) == [hashlib.sha256(QCOW2).hexdigest()]
    assert cloud.run(ingest_file(cloud.cloud, image["id"], source)) == made  # a second run after a crash


def test_a_file_that_is_refused_stays_where_it_is(cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / "snapshot"
    source.write_bytes(BACKED)
    image = create(cloud, disk_format="qcow2")
    with pytest.raises(Invalid, match="backing file"):
        cloud.run(ingest_file(cloud.cloud, image["id"], source))
    assert source.exists() and files(cloud) == [] and show(cloud, image)["status"] == "queued"


def test_a_deactivated_image_takes_no_file(cloud: TestCloud, tmp_path: Path) -> None:
    image = active(cloud)
    cloud.call("POST", f"{IMAGES}/{image['id']}/actions/deactivate", token="member")
    with pytest.raises(Conflict):
        cloud.run(ingest_file(cloud.cloud, image["id"], tmp_path / "none"))


def test_missing_content_is_told_and_not_served_as_nothing(cloud: TestCloud) -> None:
    image = active(cloud)
    for name in files(cloud):
        (cloud.cloud.images / name).unlink()
    assert file_of(cloud, image).status == 503
    assert patch(cloud, image, {"op": "replace", "path": "/name", "value": "x"}).status == 200


def test_content_that_was_lost_or_cut_off_is_not_given_out(cloud: TestCloud) -> None:
    image = active(cloud, data=b"x" * 1000)
    path = cloud.cloud.images / files(cloud)[0]
    os.truncate(path, 400)
    damaged = file_of(cloud, image)
    assert damaged.status == 503 and b"damaged: 400 of 1000 bytes" in damaged.body
    path.unlink()
    missing = file_of(cloud, image)
    assert missing.status == 503 and b"missing from the store" in missing.body


@pytest.fixture
def lenient() -> Iterator[TestCloud]:
    """A cloud that takes what it is given, as its operator will have it."""
    made = TestCloud(image=ImageSettings(require_format_match=False))
    yield made
    made.close()


def test_an_operator_may_have_everything_taken_but_no_server_is_made_of_it(lenient: TestCloud) -> None:
    image = create(lenient, disk_format="qcow2")
    assert upload(lenient, image, BACKED).status == 204
    assert file_of(lenient, image).body == BACKED
    compute = Compute(lenient)
    row = lenient.run(store.IMAGES.get(lenient.db, image["id"]))
    assert row is not None and row.flaw is not None and "backing file" in row.flaw
    body = {"server": {"name": "one", "imageRef": image["id"], "flavorRef": "1", "networks": "none"}}
    made = compute.call("POST", "/servers", body)
    assert made.status == 202, made
    server = lenient.run(servers.get(lenient.db, made.json["server"]["id"]))
    with pytest.raises(Invalid, match=r"is unacceptable: .*backing file"):
        lenient.run(guest_on(lenient.db, lenient.cloud.config, server, "one"))
    sound = create(lenient, disk_format="qcow2")
    assert upload(lenient, sound, QCOW2).status == 204
    row = lenient.run(store.IMAGES.get(lenient.db, sound["id"]))
    assert row is not None and row.flaw is None


def test_an_import_that_takes_long_goes_on_after_its_answer(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    image, waits = create(cloud), threading.Event()
    read = image_files.look_through

    def slow(path: Path) -> Any:
        assert waits.wait(20)
        return read(path)

    monkeypatch.setattr(image_files, "look_through", slow)
    monkeypatch.setattr(imports, "SOON", 0.05)
    path = f"{IMAGES}/{image['id']}"
    cloud.call("PUT", f"{path}/stage", token="member", content=b"content", headers=OCTETS)
    try:
        assert cloud.call("POST", f"{path}/import", token="member", json={"method": {"name": "glance-direct"}}).status == 202
        assert show(cloud, image)["status"] == "importing"
        assert cloud.call("POST", f"{path}/import", token="member", json={"method": {"name": "glance-direct"}}).status == 409
    finally:
        waits.set()
    until_status(cloud, image, "active")
