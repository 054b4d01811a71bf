"""Images that name files of the host, that change under their users, and addresses from which nothing may be fetched."""

import contextlib
import re
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.api.image import downloads, imports
from pileus.core.disk_headers import empty_qcow2
from pileus.model.errors import NodeFailed
from pileus.model.guests import DiskImage, GuestDisk
from pileus.node.storage.local import LocalStorage
from tests.api.harness import TestCloud
from tests.api.image.calls import IMAGES, PATCH, active, create, files, import_staged, patch, show, upload
from tests.unit.core.test_image_formats import MIB, qcow2, vhd, vhdx, vmdk

SECRET = "/etc/shadow"
FLAT = vmdk(kind="monolithicFlat", extents=f'RW 20480 FLAT "{SECRET}" 0')
DESCRIPTOR = (
    f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 20480 FLAT "{SECRET}" 0\n'.encode()
)
BACKED = empty_qcow2(MIB, SECRET)
DATA_FILE = qcow2(features=4)
JSON_BACKED = empty_qcow2(MIB, 'json:{"driver":"file","filename":"/etc/shadow"}')


@pytest.mark.parametrize("said", ["vmdk", "raw", "qcow2", "ami"])
@pytest.mark.parametrize("content", [FLAT, DESCRIPTOR, vmdk(extents=f'RW 1 SPARSE "{SECRET}"')], ids=["sparse", "descriptor", "path"])
def test_a_vmdk_that_names_a_file_is_refused_whatever_it_says_it_is(content: bytes, said: str, shared_cloud: TestCloud) -> None:
    _refused(shared_cloud, content, said)


@pytest.mark.parametrize("said", ["qcow2", "raw", "ami", "vmdk", "iso"])
@pytest.mark.parametrize("content", [BACKED, DATA_FILE, JSON_BACKED], ids=["backing", "data file", "json backing"])
def test_a_qcow2_that_names_a_file_is_refused_whatever_it_says_it_is(content: bytes, said: str, shared_cloud: TestCloud) -> None:
    _refused(shared_cloud, content, said)


@pytest.mark.parametrize(("content", "said"), [(vhd(4, True), "vhd"), (vhdx(flags=2, parent=True), "vhdx")], ids=["vhd", "vhdx"])
def test_a_differencing_disk_is_refused(content: bytes, said: str, shared_cloud: TestCloud) -> None:
    _refused(shared_cloud, content, said)


def test_a_qcow2_image_is_no_raw_one_for_any_container(shared_cloud: TestCloud) -> None:
    for container in ("bare", "ami", "ovf"):
        _refused(shared_cloud, BACKED, "ami" if container == "ami" else "raw", container)
    for container in ("ova", "docker", "compressed"):  # which no server boots from
        image = create(shared_cloud, disk_format="raw", container_format=container)
        assert upload(shared_cloud, image, BACKED).status == 400


def _refused(cloud: TestCloud, content: bytes, said: str, container: str | None = None) -> None:
    image = create(cloud, disk_format=said, container_format=container or ("ami" if said == "ami" else "bare"))
    answer = upload(cloud, image, content)
    assert answer.status == 400, answer
    assert show(cloud, image)["status"] == "queued"
    stage = f"{IMAGES}/{image['id']}/stage"
    assert cloud.call("PUT", stage, "member", content=content, headers={"content-type": "application/octet-stream"}).status == 204
    answer = import_staged(cloud, image)
    assert answer.status == 400, answer
    assert files(cloud) == []


def test_an_image_that_would_eat_memory_is_looked_at_in_little(shared_cloud: TestCloud) -> None:
    """A header that promises tables of gigabytes: nothing here reads what it promises, and no tool is run on it."""
    header = bytearray(qcow2(size=1 << 62, bits=9))
    header[36:40] = (1 << 30).to_bytes(4, "big")  # entries of the L1 table
    image = create(shared_cloud, disk_format="qcow2")
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    assert upload(shared_cloud, image, bytes(header)).status == 400
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_the_content_of_an_image_never_changes(cloud: TestCloud) -> None:
    image = active(cloud, data=b"first", visibility="shared")
    for tried in ({"op": "remove", "path": "/locations"}, {"op": "replace", "path": "/locations", "value": []},
                  {"op": "remove", "path": "/locations/0"},
                  {"op": "add", "path": "/locations/-", "value": {"url": f"file://{SECRET}", "metadata": {}}},
                  {"op": "replace", "path": "/status", "value": "queued"}, {"op": "replace", "path": "/checksum", "value": "0"},
                  {"op": "replace", "path": "/size", "value": 1}, {"op": "add", "path": "/os_hash_value", "value": "0"}):  # fmt: skip
        assert patch(cloud, image, tried).status in (400, 403, 409), tried
    assert upload(cloud, image, b"second").status == 409
    assert (
        cloud.call(
            "PUT", f"{IMAGES}/{image['id']}/stage", "member", content=b"x", headers={"content-type": "application/octet-stream"}
        ).status
        == 409
    )
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/locations", "member", {"url": "http://127.0.0.1/"}).status == 409
    after = show(cloud, image)
    assert {name: after[name] for name in ("status", "checksum", "size")} == {name: image[name] for name in ("status", "checksum", "size")}
    assert cloud.call("GET", f"{IMAGES}/{image['id']}/file", "member").body == b"first"


def test_the_id_of_a_deleted_image_is_not_taken_again_by_a_stranger_with_other_content(cloud: TestCloud) -> None:
    image = active(cloud, data=b"first")
    assert cloud.call("DELETE", f"{IMAGES}/{image['id']}", "member").status == 204
    again = cloud.call(
        "POST", IMAGES, "other_project_member", {"id": image["id"], "name": "x", "disk_format": "raw", "container_format": "bare"}
    )
    assert again.status == 409


INSIDE = ["http://127.0.0.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://0x7f.1/", "http://127.1/",
          "http://localhost/", "http://localhost./", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::7f00:1]/",
          "http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://[fe80::1]/", "http://[fd00::1]/", "http://10.0.0.1/",
          "http://192.168.0.1/", "http://172.16.0.1/", "http://100.64.0.1/", "http://0.0.0.0/", "http://0/", "http://[::]/",
          "http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::7f00:1]/", "http://[2002:7f00:1::]/", "http://224.0.0.1/", "http://255.255.255.255/",
          "http://user@127.0.0.1/", "http://example.org@127.0.0.1/", "http://127.0.0.1\\@example.org/", "http://127.0.0.1#@example.org/",
          "http://127.0.0.1:22/", "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "//127.0.0.1/", "http:///etc/passwd",
          "http://127.0.0.1%2f.example.org/", "http://①②⑦.0.0.1/", "http://127。0。0。1/",
          "http://x\r\nHost: y/", "jar:http://127.0.0.1/!/"]  # fmt: skip


@pytest.mark.parametrize("uri", INSIDE)
def test_nothing_inside_is_fetched_however_its_address_is_written(
    uri: str, shared_cloud: TestCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[Any] = []
    monkeypatch.setattr(downloads.socket, "create_connection", lambda *args, **more: connected.append(args) or _no())
    image = create(shared_cloud)
    body = {"method": {"name": "web-download", "uri": uri}}
    answer = shared_cloud.call("POST", f"{IMAGES}/{image['id']}/import", "member", body)
    assert answer.status == 400, answer
    task = {"type": "import", "input": {"import_from": uri, "image_properties": {"disk_format": "raw", "container_format": "bare"}}}
    assert shared_cloud.call("POST", "/image/v2/tasks", "admin", task).status == 400
    assert connected == []


def _no() -> Any:
    raise OSError("not in this test")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], list[Any]]:
    """A resolver that gives these addresses in turn; returns what was connected to."""

    def use(answers: list[str]) -> list[Any]:
        left, connected = list(answers), []

        def getaddrinfo(host: str, port: int, **rest: Any) -> list[Any]:
            address = left.pop(0) if len(left) > 1 else left[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        def connect(address: Any, *args: Any, **rest: Any) -> Any:
            connected.append(address)
            return _no()

        monkeypatch.setattr(downloads.socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(downloads.socket, "create_connection", connect)
        return connected

    return use


def test_a_name_that_leads_inside_at_the_second_look_is_not_followed(cloud: TestCloud, names: Callable[[list[str]], list[Any]]) -> None:
    connected = names(["93.184.216.34", "127.0.0.1"])
    image = create(cloud)
    body = {"method": {"name": "web-download", "uri": "http://rebinding.example/"}}
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", "member", body).status == 202
    assert _ended(cloud, image) == "failure"
    assert connected == []


def test_what_was_looked_at_is_what_is_connected_to(cloud: TestCloud, names: Callable[[list[str]], list[Any]]) -> None:
    connected = names(["93.184.216.34", "93.184.216.35", "127.0.0.1"])
    image = create(cloud)
    body = {"method": {"name": "web-download", "uri": "http://rebinding.example/"}}
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", "member", body).status == 202
    assert _ended(cloud, image) == "failure"
    assert connected == [("93.184.216.35", 80)]


class Slow:
    """A web server of a tenant's. `say` is what it does with a connection once it has read the request."""

    def __init__(self, say: Callable[[socket.socket, threading.Event], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.over = threading.Event()
        self.say = say
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError), link:
            link.recv(65536)
            self.say(link, self.over)

    def close(self) -> None:
        self.over.set()
        self.listener.close()


def says_nothing(link: socket.socket, over: threading.Event) -> None:
    over.wait(30)


def goes_on_for_ever(link: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.02):
        link.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def drips(link: socket.socket, over: threading.Event) -> None:
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not over.wait(0.05):
        link.sendall(b"x")


@pytest.mark.parametrize("say", [says_nothing, goes_on_for_ever, drips])
def test_a_server_that_takes_its_time_is_given_up_and_holds_up_nobody(
    say: Callable[[socket.socket, threading.Event], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    server = Slow(say)
    cloud = TestCloud(import_hosts=[server.address])
    try:
        waiting = [create(cloud) for _ in range(imports.MOST_AT_ONCE + 1)]
        method = {"method": {"name": "web-download", "uri": f"http://{server.address}/"}}
        asked = [cloud.call("POST", f"{IMAGES}/{one['id']}/import", "member", method) for one in waiting]
        assert [one.status for one in asked] == [202] * imports.MOST_AT_ONCE + [413]
        began = time.monotonic()
        active(cloud, data=b"x" * 3_000_000)
        assert time.monotonic() - began < 3, "an upload waits for the imports"
        for one in waiting[:-1]:
            assert _ended(cloud, one) == "failure"
            assert show(cloud, one)["status"] == "queued"
        assert cloud.call("POST", f"{IMAGES}/{waiting[-1]['id']}/import", "member", method).status == 202
    finally:
        server.close()
        cloud.close()


def test_a_name_that_takes_its_time_holds_up_nobody(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(downloads, "NAME_SECONDS", 0.5)
    monkeypatch.setattr(downloads.socket, "getaddrinfo", lambda *args, **more: over.wait(20) and [])
    image = create(cloud)
    body = {"method": {"name": "web-download", "uri": "http://slow.example/"}}
    began = time.monotonic()
    answer = cloud.call("POST", f"{IMAGES}/{image['id']}/import", "member", body)
    assert answer.status == 400 and b"is not known" in answer.body
    assert time.monotonic() - began < 5
    over.set()


def _ended(cloud: TestCloud, image: dict[str, Any]) -> str:
    deadline = time.monotonic() + 20
    while True:
        task = cloud.call("GET", f"{IMAGES}/{image['id']}/tasks", "member").json["tasks"][0]
        if task["status"] != "processing":
            return str(task["status"])
        assert time.monotonic() < deadline, "the import did not end"
        time.sleep(0.01)


def test_no_image_has_a_location(cloud: TestCloud) -> None:
    for name, value in (("locations", [{"url": f"file://{SECRET}", "metadata": {}}]), ("direct_url", f"file://{SECRET}")):
        body = {"name": "x", "disk_format": "raw", "container_format": "bare", name: value}
        answer = cloud.call("POST", IMAGES, "admin", body)
        assert answer.status in (400, 403) or SECRET not in str(cloud.call("GET", f"{IMAGES}/{answer.json['id']}/file", "admin").body)
        assert answer.status != 201 or answer.json["status"] == "queued"
    image = create(cloud)
    add = [{"op": "add", "path": "/locations/-", "value": {"url": f"file://{SECRET}", "metadata": {}}}]
    assert cloud.call("PATCH", f"{IMAGES}/{image['id']}", "member", add, PATCH).status in (400, 403, 409)


# What a guest writes onto its own disk: QEMU and qemu-img are told the format, they never guess it.


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    made = LocalStorage(tmp_path / "node")
    made.prepare()
    return made


def test_a_header_that_a_guest_writes_onto_its_raw_disk_is_content(storage: LocalStorage, tmp_path: Path) -> None:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is missing")
    victim = tmp_path / "victim"
    victim.write_bytes(b"of the host")
    guest = tmp_path / "node" / "guests" / "one"
    (guest / "disks").mkdir(parents=True)
    disk = GuestDisk(name="ephemeral0", size=MIB)
    made = storage.make(guest, disk, None)
    path = guest / made.path
    with path.open("r+b") as file:
        file.write(empty_qcow2(MIB, str(victim)))
    grown = storage.make(guest, GuestDisk(name="ephemeral0", size=4 * MIB), None)
    assert grown.format == "raw" and path.stat().st_size == 4 * MIB
    assert path.read_bytes()[:4096] == empty_qcow2(MIB, str(victim))[:4096]
    assert victim.read_bytes() == b"of the host"
    copy = tmp_path / "snapshot.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", grown.format, "-O", "qcow2", path, copy], check=True, timeout=60)
    shown = subprocess.run(["qemu-img", "info", "-f", "qcow2", copy], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "victim" not in shown


@pytest.mark.parametrize(("content", "form"), [(BACKED, "qcow2"), (BACKED, "raw"), (DATA_FILE, "qcow2"), (qcow2(), "raw")])
def test_the_host_looks_at_an_image_again(content: bytes, form: str, storage: LocalStorage, tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(content)
    with pytest.raises(NodeFailed):
        storage.place(DiskImage(sha256="a" * 64, path=str(source), format=form, virtual_size=MIB))
    assert list(storage.base.iterdir()) == []


def test_no_program_is_left_to_guess_the_format_of_a_disk() -> None:
    """Every call of qemu-img on a disk says which format it is."""
    source = Path(__file__).parents[3] / "src" / "pileus"
    lines = [line for path in source.rglob("*.py") for line in path.read_text().splitlines()]
    calls = [line for line in lines if re.search(r"""["']qemu-img["'], ["'](check|convert|resize|rebase|create|info|map)""", line)]
    assert len(calls) >= 4
    assert [line for line in calls if '"-f"' not in line] == []
