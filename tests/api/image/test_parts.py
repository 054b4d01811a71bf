"""Content that is staged in parts: a connection that breaks costs what was under way, not what has come."""

import hashlib
import http.client
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from pileus.api.image import files as image_files
from pileus.api.image import parts, writers
from pileus.model.images import ImageStatus
from pileus.store import images as store
from pileus.store.database import Transaction
from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import IMAGES, OCTETS, create, files, show, upload

MIB = 1 << 20
DATA = bytes(range(256)) * 4096 * 8  # 8 MiB
DIRECT = {"method": {"name": "glance-direct"}}


def put(cloud: TestCloud, image: dict[str, Any], first: int, data: bytes, total: int = len(DATA), **headers: str) -> Answer:
    span = f"{first}-{first + len(data) - 1}" if data else "*"
    given = {**OCTETS, "content-range": f"bytes {span}/{total}", **headers}
    return cloud.call("PUT", f"{IMAGES}/{image['id']}/stage", token="member", content=data, headers=given)


def there(cloud: TestCloud, image: dict[str, Any]) -> tuple[int, str]:
    answer = cloud.call("HEAD", f"{IMAGES}/{image['id']}/stage", token="member")
    assert answer.status == 200 and answer.body == b"", answer
    shown = cloud.call("GET", f"{IMAGES}/{image['id']}/stage", token="member").json
    assert shown == {
        "offset": int(answer.headers["upload-offset"]),
        "complete": answer.headers["upload-complete"] == "?1",
        "writing": False,
    }
    return int(answer.headers["upload-offset"]), answer.headers["upload-complete"]


def import_it(cloud: TestCloud, image: dict[str, Any]) -> Answer:
    return cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="member", json=DIRECT)


def test_parts_make_an_image(cloud: TestCloud) -> None:
    image = create(cloud)
    for first in range(0, len(DATA), 3 * MIB):
        part = DATA[first : first + 3 * MIB]
        answer = put(cloud, image, first, part)
        assert answer.status == 204, answer
        assert answer.headers["upload-offset"] == str(first + len(part))
        assert show(cloud, image)["status"] == "uploading"
    assert there(cloud, image) == (len(DATA), "?1")
    assert import_it(cloud, image).status == 202
    image = show(cloud, image)
    assert (image["status"], image["os_hash_value"]) == ("active", hashlib.sha512(DATA).hexdigest())
    assert len(files(cloud)) == 1


def break_off(cloud: TestCloud, image: dict[str, Any], first: int, sent: int) -> None:
    """A connection that ends after some of the rest of the content."""
    address = urlsplit(cloud.url)
    rest = DATA[first:]
    request = (
        f"PUT {IMAGES}/{image['id']}/stage HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cloud.token('member')}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(rest)}\r\n"
        f"Content-Range: bytes {first}-{len(DATA) - 1}/{len(DATA)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(request.encode() + rest[:sent])
        until = time.monotonic() + 20
        while parts.part_of(cloud.cloud.images, image["id"]).stat().st_size < first + 2 * MIB and time.monotonic() < until:
            show(cloud, image)
        assert put(cloud, image, first, b"more").status == 409  # one part at a time
    while not offset_settled(cloud, image) and time.monotonic() < until:
        show(cloud, image)


def offset_settled(cloud: TestCloud, image: dict[str, Any]) -> bool:
    row = cloud.run(store.IMAGES.get(cloud.db, image["id"]))
    assert row
    return row.upload is None


def test_a_connection_that_breaks_is_gone_on_from_where_it_was(cloud: TestCloud) -> None:
    image = create(cloud)
    assert put(cloud, image, 0, DATA[:1000]).status == 204
    break_off(cloud, image, 1000, 5 * MIB)
    offset, complete = there(cloud, image)
    assert 1000 + 2 * MIB <= offset <= 1000 + 5 * MIB and complete == "?0"
    early = import_it(cloud, image)
    assert early.status == 409 and b"Not all of image" in early.body
    assert put(cloud, image, offset, DATA[offset:]).status == 204
    assert import_it(cloud, image).status == 202
    assert show(cloud, image)["os_hash_value"] == hashlib.sha512(DATA).hexdigest()


def test_a_part_that_does_not_fit_is_refused_and_says_what_does(cloud: TestCloud) -> None:
    image = create(cloud)
    assert put(cloud, image, 0, DATA[:1000]).status == 204
    for first in (0, 999, 1001):
        answer = put(cloud, image, first, b"some")
        assert answer.status == 409 and answer.headers["upload-offset"] == "1000"
    for text in ("bytes 1000-999/2000", "bytes 1000-2000/2000", "bytes 1000-", "bytes */0", "items 0-1/2"):
        assert put(cloud, image, 1000, b"some", **{"content-range": text}).status == 400
    assert put(cloud, image, 1000, b"some", **{"content-range": "bytes 1000-1001/2000", "content-length": "4"}).status == 400
    assert put(cloud, image, 1000, b"some", total=1 << 50).status == 413
    assert upload(cloud, image, b"all").status == 409
    assert there(cloud, image) == (1000, "?0")


def test_nobody_else_adds_a_part_or_sees_how_much_is_there(cloud: TestCloud) -> None:
    image = create(cloud, visibility="community")
    assert put(cloud, image, 0, DATA[:1000]).status == 204
    path = f"{IMAGES}/{image['id']}/stage"
    for token, status in (("other_project_member", 403), ("reader", 403)):
        assert cloud.call("HEAD", path, token=token).status == status
        headers = {**OCTETS, "content-range": "bytes 1000-1003/2000"}
        assert cloud.call("PUT", path, token=token, content=b"some", headers=headers).status == status


def test_where_nothing_is_staged_nothing_is_told(cloud: TestCloud) -> None:
    assert cloud.call("GET", f"{IMAGES}/{create(cloud)['id']}/stage", token="member").status == 404


def test_deleting_the_image_removes_what_is_there(cloud: TestCloud) -> None:
    image = create(cloud)
    assert put(cloud, image, 0, DATA[:1000]).status == 204
    assert len(files(cloud)) == 1
    assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="member").status == 204
    assert files(cloud) == []


def test_an_image_deleted_while_a_part_comes_is_gone(cloud: TestCloud) -> None:
    image = create(cloud)
    address = urlsplit(cloud.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    connection.putrequest("PUT", f"{IMAGES}/{image['id']}/stage")
    length, span = str(len(DATA)), f"bytes 0-{len(DATA) - 1}/{len(DATA)}"
    headers = {**OCTETS, "x-auth-token": cloud.token("member"), "content-length": length, "content-range": span}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(DATA[: 3 * MIB])
    until = time.monotonic() + 20
    while not parts.part_of(cloud.cloud.images, image["id"]).exists():
        assert time.monotonic() < until
    assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="member").status == 204
    connection.send(DATA[3 * MIB :])
    answer = connection.getresponse()
    assert answer.status == 410 and files(cloud) == []
    connection.close()


def dying(cloud: TestCloud, image: dict[str, Any], ago: float = 0.0) -> None:
    """As a process that was killed in the middle of a part leaves it."""

    async def write(tx: Transaction) -> None:
        await store.continue_upload(tx, image["id"], "gone")
        await store.IMAGES.set(tx, image["id"], updated_at=time.time() - ago)

    cloud.write(write)


@pytest.mark.parametrize("restarted", [True, False])
def test_what_is_there_outlives_a_crash(restarted: bool, cloud: TestCloud) -> None:
    image = create(cloud)
    assert put(cloud, image, 0, DATA[:MIB]).status == 204
    dying(cloud, image, ago=writers.PATIENCE + 1)
    if restarted:
        assert cloud.run(image_files.recover(cloud.db, cloud.cloud.image_stores)) == []
    assert show(cloud, image)["status"] == ImageStatus.UPLOADING
    assert there(cloud, image) == (MIB, "?0")
    assert put(cloud, image, MIB, DATA[MIB:]).status == 204
    assert import_it(cloud, image).status == 202


def test_the_end_that_was_not_told_is_told_by_an_empty_part(cloud: TestCloud) -> None:
    image = create(cloud)
    assert put(cloud, image, 0, DATA[:MIB]).status == 204
    assert put(cloud, image, 0, b"", total=len(DATA)).status == 409
    assert put(cloud, image, 0, b"", total=MIB).status == 204
    assert there(cloud, image) == (MIB, "?1")
    assert import_it(cloud, image).status == 202
