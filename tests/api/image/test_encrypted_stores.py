"""Stores whose content is encrypted: what users see is as ever, what lies on the disk tells nothing."""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from click.testing import CliRunner

from pileus.api.image import files, stores, writers
from pileus.bus.authority import new_authority
from pileus.cli.agents import plain_bytes
from pileus.cli.control_plane import with_sources
from pileus.cli.main import cli
from pileus.cli.settings import load
from pileus.core.encrypted_content import CHUNK, HEADER, MAGIC, TAG
from pileus.core.verify.images import images_have_content
from pileus.model.errors import Conflict, Invalid, NodeFailed, Unavailable
from pileus.model.guests import DiskImage, Guest, GuestDisk, Power
from pileus.model.image_stores import ImageSettings, ImageStore
from pileus.model.images import ImageStatus
from pileus.model.messages import ApplyGuest
from pileus.node.images import ImageFetcher, ImageOpener
from pileus.node.storage.local import LocalStorage
from pileus.store import contents
from pileus.store.world import gather
from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import IMAGES, OCTETS, active, create, import_staged, show, upload
from tests.api.image.test_imports import ended
from tests.api.image.test_stores import bring
from tests.api.image.test_writers import begun

MARKER = b"nobody may find this on a disk"
DATA = MARKER + os.urandom(3 * CHUNK) + MARKER + bytes(2000) + MARKER
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A store that is not encrypted."""
    (tmp_path / "plain").mkdir()
    return tmp_path / "plain"


@pytest.fixture
def cloud(plain: Path) -> Iterator[TestCloud]:
    """A cloud whose own store is encrypted."""
    made = TestCloud(image=ImageSettings(stores={"local": ImageStore(encrypted=True), "plain": ImageStore(path=str(plain))}))
    yield made
    made.close()


def file_of(cloud: TestCloud, image: dict[str, str], part: str | None = None) -> Answer:
    headers = {"range": part} if part else {}
    return cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member", headers=headers)


def found(*folders: Path) -> list[str]:
    """Files that hold the marker."""
    return [path.name for folder in folders for path in folder.rglob("*") if path.is_file() and MARKER in path.read_bytes()]


def test_an_upload_is_encrypted_and_downloads_give_it_back(cloud: TestCloud) -> None:
    image = active(cloud, data=DATA)
    path = cloud.cloud.images / SHA
    assert found(cloud.cloud.config.directory) == [] and contents.is_encrypted(path)
    assert path.stat().st_size == HEADER + len(DATA) + 4 * TAG and path.stat().st_mode & 0o777 == 0o444
    assert (image["size"], image["checksum"]) == (len(DATA), hashlib.md5(DATA, usedforsecurity=False).hexdigest())
    whole = file_of(cloud, image)
    assert (whole.status, whole.body, whole.headers["content-length"]) == (200, DATA, str(len(DATA)))
    for part, wanted in {
        "bytes=0-9": DATA[:10], f"bytes={CHUNK - 5}-{CHUNK + 4}": DATA[CHUNK - 5 : CHUNK + 5], "bytes=-7": DATA[-7:],
        f"bytes={2 * CHUNK}-": DATA[2 * CHUNK :],
    }.items():  # fmt: skip
        answer = file_of(cloud, image, part)
        assert (answer.status, answer.body) == (206, wanted)


@pytest.mark.parametrize("data", [b"", bytes(CHUNK)])
def test_contents_of_no_and_of_whole_chunks_come_back(data: bytes, cloud: TestCloud) -> None:
    assert file_of(cloud, active(cloud, data=data)).body == data


def test_an_import_is_encrypted_and_deletion_frees_what_is_no_images_any_more(cloud: TestCloud) -> None:
    image = create(cloud)
    assert cloud.call("PUT", f"{IMAGES}/{image['id']}/stage", token="member", content=DATA, headers=OCTETS).status == 204
    assert import_staged(cloud, image).status == 202
    other = active(cloud, "other", DATA)
    assert found(cloud.cloud.config.directory) == [] and file_of(cloud, image).body == DATA
    assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", token="member").status == 204
    assert file_of(cloud, other).body == DATA
    assert cloud.call("DELETE", f"{IMAGES}/{other['id']}", token="member").status == 204
    assert [path for path in cloud.cloud.images.rglob("*") if path.is_file() and path.name != files.NAMING] == []


def test_copies_between_stores_have_each_stores_form(cloud: TestCloud, plain: Path) -> None:
    image = active(cloud, data=DATA)
    assert bring(cloud, image, "copy-image", "admin", stores=["plain"]).status == 202
    assert ended(cloud, image)["status"] == "success"
    assert (plain / SHA).read_bytes() == DATA and contents.is_encrypted(cloud.cloud.images / SHA)
    assert cloud.call("DELETE", f"/image/v2/stores/local/{image['id']}", token="admin").status == 204
    assert not (cloud.cloud.images / SHA).exists() and file_of(cloud, image).body == DATA
    assert bring(cloud, image, "copy-image", "admin", stores=["local"]).status == 202
    assert ended(cloud, image)["status"] == "success" and show(cloud, image)["stores"] in ("plain,local", "local,plain")
    assert contents.is_encrypted(cloud.cloud.images / SHA) and found(cloud.cloud.images) == []


def test_an_image_made_of_another_by_glance_download_has_the_stores_form(cloud: TestCloud, plain: Path) -> None:
    source, image = create(cloud), create(cloud)
    assert upload(cloud, source, DATA, headers={**OCTETS, "x-image-meta-store": "plain"}).status == 204
    method = {"name": "glance-download", "glance_image_id": source["id"], "glance_region": "RegionOne"}
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="member", json={"method": method}).status == 202
    assert (plain / SHA).read_bytes() == DATA and contents.is_encrypted(cloud.cloud.images / SHA)
    assert file_of(cloud, image).body == DATA


def test_a_plain_content_gives_way_to_the_same_one_encrypted(cloud: TestCloud) -> None:
    local = cloud.cloud.config.image.stores
    cloud.cloud.config = msgspec.structs.replace(cloud.cloud.config, image=ImageSettings(stores={"plain": local["plain"]}))
    before = active(cloud, data=DATA)
    assert found(cloud.cloud.images) == [SHA]
    cloud.cloud.config = msgspec.structs.replace(cloud.cloud.config, image=ImageSettings(stores=local))
    assert file_of(cloud, before).body == DATA, "what is there stays readable"
    after = active(cloud, "after", DATA)
    assert found(cloud.cloud.images) == [] and file_of(cloud, before).body == file_of(cloud, after).body == DATA


def test_content_that_looks_encrypted_is_encrypted_in_every_store(cloud: TestCloud, plain: Path) -> None:
    data = MAGIC + bytes(HEADER)
    image = create(cloud)
    assert upload(cloud, image, data, headers={**OCTETS, "x-image-meta-store": "plain"}).status == 204
    path = plain / hashlib.sha256(data).hexdigest()
    assert contents.size_of(path) == len(data) and file_of(cloud, image).body == data
    assert path.read_bytes()[: len(data)] != data


def test_a_damaged_file_is_an_error_at_once_or_breaks_the_download_off(cloud: TestCloud) -> None:
    image = active(cloud, data=DATA)
    path = cloud.cloud.images / SHA
    good = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(good[:-1])
    answer = file_of(cloud, image)
    assert answer.status == 503 and b"is damaged" in answer.body
    path.write_bytes(good[: HEADER + 5] + b"?" + good[HEADER + 6 :])
    assert file_of(cloud, image).status == 503
    end = len(good) - 5
    path.write_bytes(good[:end] + bytes([good[end] ^ 1]) + good[end + 1 :])
    received = download_of(cloud, image["id"])
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and len(body) < len(DATA) and DATA.startswith(body)


def download_of(cloud: TestCloud, image_id: str) -> bytes:
    """What comes until the connection ends."""
    address = urlsplit(cloud.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        lines = f"GET {IMAGES}/{image_id}/file HTTP/1.1", "Host: x", f"X-Auth-Token: {cloud.token('member')}", "", ""
        connection.sendall("\r\n".join(lines).encode())
        parts = []
        while data := connection.recv(1 << 16):
            parts.append(data)
    return b"".join(parts)


def test_without_its_key_an_image_says_so(cloud: TestCloud) -> None:
    image = active(cloud, data=DATA)
    path = cloud.cloud.images / SHA
    path.chmod(0o600)
    data = path.read_bytes()
    path.write_bytes(data[:70] + bytes([data[70] ^ 1]) + data[71:])
    answer = file_of(cloud, image)
    assert answer.status == 503 and b"another key" in answer.body
    active(cloud, "uploaded again", DATA)
    assert file_of(cloud, image).body == DATA


WRITER = """
import sys
from pathlib import Path
from pileus.api.image import files, stores, writers
from pileus.store import contents
from pileus.store.sealing import seal_of
state, image = Path(sys.argv[1]), sys.argv[2]
class Source(contents.Content):
    def read(self, length, offset):
        if offset:
            print("writing", flush=True)
            sys.stdin.read()
        return bytes(length)
with writers.writing(state / "images", image, "elsewhere"):
    target = state / "images" / files.UPLOADS / f"{image}.elsewhere.local.placed"
    contents.encrypt(Source(-1, 1 << 22), target, "0" * 64, seal_of(state))
"""


@pytest.mark.parametrize("restarted", [True, False])
def test_a_kill_in_the_middle_leaves_nothing(restarted: bool, cloud: TestCloud) -> None:
    kept, image = active(cloud, "kept", DATA), create(cloud)
    argv = [sys.executable, "-c", WRITER, str(cloud.cloud.config.directory), image["id"]]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"writing\n"
        [half] = (cloud.cloud.images / files.UPLOADS).glob("*.placed")
        assert contents.is_encrypted(half)
        begun(cloud, image["id"], ImageStatus.SAVING, ago=writers.PATIENCE + 1)
    finally:
        process.kill()
        process.communicate()
    if restarted:
        cloud.run(files.recover(cloud.db, cloud.cloud.image_stores))
    assert show(cloud, image)["status"] == "queued"
    assert [path.name for path in cloud.cloud.images.rglob("*") if path.is_file() and path.name not in (files.NAMING, SHA)] == []
    assert file_of(cloud, kept).body == DATA


def test_where_a_file_lies_is_not_told_when_it_could_not_be_used(cloud: TestCloud) -> None:
    image = active(cloud, data=DATA)
    told = cloud.call("GET", f"{IMAGES}/{image['id']}/locations", token="admin")
    assert [one["url"] for one in told.json] == [f"pileus://local/{SHA}"]


def test_verify_sees_the_plain_sizes_and_what_is_cut_off(cloud: TestCloud) -> None:
    active(cloud, data=DATA)
    world = cloud.run(gather(cloud.db, cloud.cloud.image_stores))
    assert list(images_have_content(world)) == []
    path = cloud.cloud.images / SHA
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-100])
    [finding] = images_have_content(cloud.run(gather(cloud.db, cloud.cloud.image_stores)))
    assert f"{len(DATA) - 100} bytes, the record says {len(DATA)}" in finding.evidence


def test_a_file_is_opened_by_command_without_the_cloud(cloud: TestCloud, tmp_path: Path) -> None:
    active(cloud, data=DATA)
    kept, target = tmp_path / "kept" / SHA, tmp_path / "plain.raw"
    kept.parent.mkdir()
    kept.write_bytes((cloud.cloud.images / SHA).read_bytes())
    decrypt = ["--state", str(cloud.cloud.config.directory), "image", "decrypt"]
    done = CliRunner().invoke(cli, [*decrypt, str(kept), str(target)])
    assert done.exit_code == 0 and SHA in done.output and target.read_bytes() == DATA
    assert isinstance(CliRunner().invoke(cli, [*decrypt, str(kept), str(target)]).exception, Conflict)
    target.unlink()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert isinstance(CliRunner().invoke(cli, [*decrypt, str(kept), str(target)]).exception, Unavailable)
    assert not target.exists()


@pytest.mark.parametrize(("said", "way"), [({"encrypted": "yes"}, "encrypted"), ({"encrypted": True, "path": "/x"}, "leave its path out")])
def test_the_setting_is_looked_at_before_a_start(said: dict[str, object], way: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"image": {"stores": {"local": said}}}))
    with pytest.raises(Invalid, match=way):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"image": {"stores": {"local": {"encrypted": True}}}}))
    assert stores.is_encrypted(load(tmp_path), "local") and not stores.is_encrypted(load(tmp_path), "other")


# -- hosts -----------------------------------------------------------------------------------------------------------------------------


def applied(cloud: TestCloud, sha: str = SHA, size: int = len(DATA)) -> ApplyGuest:
    image = DiskImage(sha256=sha, path=str(cloud.cloud.images / sha), format="raw", size=size, virtual_size=size)
    disk = GuestDisk(name="root", size=1 << 20, image=image)
    return ApplyGuest(
        guest=Guest(id="guest", name="guest", project_id="p", generation=1, power=Power.RUNNING, vcpus=1, memory_mib=64, disks=[disk]),
        domains=[],
    )


def opener(cloud: TestCloud, tmp_path: Path) -> ImageOpener:
    directory = cloud.cloud.config.directory
    return ImageOpener(tmp_path / "node" / "fetched", tmp_path / "node" / "base", lambda path: plain_bytes(directory, path))


def test_this_machines_disks_are_made_of_plain_content(cloud: TestCloud, tmp_path: Path) -> None:
    active(cloud, data=DATA)
    images = opener(cloud, tmp_path)
    request = asyncio.run(images.localize(applied(cloud)))
    image = request.guest.disks[0].image
    assert image is not None and Path(image.path).parent == images.directory
    storage = LocalStorage(tmp_path / "node")
    storage.prepare()
    assert storage.place(image).read_bytes() == DATA
    asyncio.run(images.release(request))
    assert list(images.directory.iterdir()) == []


def test_what_the_host_has_already_is_not_opened_again_nor_lost_before_it_is_used(cloud: TestCloud, tmp_path: Path) -> None:
    active(cloud, data=DATA)
    images, storage = opener(cloud, tmp_path), LocalStorage(tmp_path / "node")
    storage.prepare()
    image = asyncio.run(images.localize(applied(cloud))).guest.disks[0].image
    assert image is not None
    storage.place(image)
    asyncio.run(images.release(applied(cloud)))
    (cloud.cloud.config.directory / "secrets" / "seal.key").rename(tmp_path / "key")
    again = asyncio.run(images.localize(applied(cloud))).guest.disks[0].image
    assert storage.collect(set) == [SHA], "its last guest has gone meanwhile"
    assert again is not None and storage.place(again).read_bytes() == DATA


def test_a_host_that_has_joined_fetches_what_it_sees_encrypted(cloud: TestCloud, tmp_path: Path) -> None:
    active(cloud, data=DATA)
    cloud.cloud.authority = new_authority()
    cloud.cloud.config = msgspec.structs.replace(cloud.cloud.config, bus="nats://127.0.0.1:1")
    request = with_sources(applied(cloud), cloud.cloud.authority)
    assert isinstance(request, ApplyGuest)
    images = ImageFetcher(tmp_path / "fetched", cloud.url, tmp_path / "base")
    image = asyncio.run(images.localize(request)).guest.disks[0].image
    assert image is not None and Path(image.path) == tmp_path / "fetched" / SHA
    assert Path(image.path).read_bytes() == DATA


def test_what_cant_be_opened_is_not_made_a_disk_of(cloud: TestCloud, tmp_path: Path) -> None:
    active(cloud, data=DATA)
    path = cloud.cloud.images / SHA
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-20])
    images = opener(cloud, tmp_path)
    with pytest.raises(NodeFailed, match="can't be read"):
        asyncio.run(images.localize(applied(cloud)))
    assert list(images.directory.iterdir()) == []


def test_an_interrupted_request_leaves_no_plain_content_for_long(cloud: TestCloud, tmp_path: Path) -> None:
    active(cloud, data=DATA)
    images = opener(cloud, tmp_path)
    asyncio.run(images.localize(applied(cloud)))
    assert found(images.directory) == [SHA]
    opener(cloud, tmp_path).sweep()
    assert found(images.directory) == []
