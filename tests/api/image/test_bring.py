"""`pileus image import SOURCE`: images come in from everywhere, and what fails leaves nothing behind."""

import functools
import gzip
import hashlib
import http.server
import json
import lzma
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pileus.api.image import imports
from pileus.cli.bring.sources import Wishes, of_file
from pileus.cli.bring.steps import Said, bring
from pileus.cli.bring.target import Target
from pileus.model.errors import PileusError
from tests.api.harness import PASSWORD, TestCloud
from tests.api.image.calls import IMAGES, active, files, names, show
from tests.api.image.test_content import forget_peak, peak_memory
from tests.api.image.test_unpacking import DISK, MIB, SEVERAL, disk, flat, ova
from tests.unit.core.test_vma import CONFIG
from tests.unit.core.vma_writer import archive

SOURCE = Path(__file__).parents[3] / "src"
ROOT = Path(__file__).parents[3]


def target(cloud: TestCloud, url: str = "") -> Target:
    return Target(f"{url or cloud.url}/image", cloud.token("member"), pause=0.2)


def brought(cloud: TestCloud, source: object, folder: Path, said: Said | None = None, **wishes: Any) -> list[dict[str, Any]]:
    return bring(str(source), target(cloud), said or Said(), Wishes(folder, **wishes))


def command(cloud: TestCloud, *words: str, **environment: str) -> "subprocess.Popen[str]":
    """The command, as a user with OS_... variables says it."""
    given = {**cloud.environment("demo"), "PYTHONPATH": f"{SOURCE}:{os.environ.get('PYTHONPATH', '')}", **environment}
    argv = [sys.executable, "-m", "pileus.cli.main", "image", "import", *words]
    return subprocess.Popen(
        argv, env=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, preexec_fn=_heed_interrupts
    )


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background has it ignored


@contextmanager
def between(cloud: TestCloud, cut: int, hang: bool = False) -> Iterator[str]:
    """A way to the cloud of which the first long connection breaks, or stands still, after so many bytes."""
    address = urlsplit(cloud.url)
    listener = socket.create_server(("127.0.0.1", 0))
    left = [1]
    over = threading.Event()

    def pump(source: socket.socket, sink: socket.socket, bounded: bool) -> None:
        passed = 0
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                passed += len(data)
                if bounded and passed > cut and left[0]:
                    if hang:
                        over.wait(60)
                    left[0] = 0
                    break
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection((str(address.hostname), address.port or 80))
            threading.Thread(target=pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=pump, args=(server, client, False), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.close()


def test_the_command_brings_a_file_in_and_says_what_it_has_made(cloud: TestCloud, tmp_path: Path) -> None:
    (tmp_path / "debian.vmdk").write_bytes(disk(tmp_path, "vmdk", "subformat=streamOptimized"))
    words = (str(tmp_path / "debian.vmdk"), "--property", "os_distro=debian", "--tag", "new", "--json")
    out, error = command(cloud, *words).communicate(timeout=60)
    (made,) = json.loads(out)
    assert (made["name"], made["disk_format"], made["container_format"], made["status"]) == ("debian", "qcow2", "bare", "active")
    assert made["min_disk"] == 1
    image = show(cloud, made)
    assert (image["os_distro"], image["tags"]) == ("debian", ["new"])
    assert flat(cloud, image, tmp_path).rstrip(b"\0") == DISK
    assert "Upload" in error and "Import" in error


@pytest.mark.parametrize("kind", ["qcow2", "vdi", "vhdx", "raw"])
def test_what_a_file_is_its_bytes_say(kind: str, cloud: TestCloud, tmp_path: Path) -> None:
    for suffix, data in (("img", disk(tmp_path, kind)), ("img.xz", lzma.compress(disk(tmp_path, kind)))):
        source = tmp_path / f"system.{suffix}"
        source.write_bytes(data)
        (made,) = brought(cloud, source, tmp_path)
        assert (made["name"], made["disk_format"], made["container_format"]) == ("system", "raw" if kind == "raw" else "qcow2", "bare")
        assert flat(cloud, show(cloud, made), tmp_path).rstrip(b"\0") == DISK


def test_an_appliance_becomes_an_image_for_each_disk(cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / "appliance.ova"
    source.write_bytes(ova(SEVERAL, **{"data.raw": b"data" * 512, "boot.gz": gzip.compress(DISK)}))
    first, second = brought(cloud, source, tmp_path, Said(name="mine"))
    assert (first["name"], second["name"]) == ("mine", "mine-2")
    assert first["os_hash_value"] == hashlib.sha512(DISK).hexdigest()
    assert second["os_hash_value"] == hashlib.sha512(b"data" * 512).hexdigest()
    assert show(cloud, first)["hw_firmware_type"] == "uefi" and show(cloud, second)["ovf_disk"] == "data.raw"


def test_when_one_disk_fails_none_stays(cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / "appliance.ova"
    source.write_bytes(ova(SEVERAL, **{"boot.gz": b"\x1f\x8b\x08" + bytes(600), "data.raw": DISK}))
    with pytest.raises(PileusError, match="damaged"):
        brought(cloud, source, tmp_path)
    assert names(cloud) == [] and files(cloud) == []


def test_a_connection_that_breaks_is_gone_on_with(cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / "large.raw"
    source.write_bytes(os.urandom(12 * MIB))
    told: list[int] = []
    with between(cloud, cut=6 * MIB) as url:
        one = target(cloud, url)
        image = one.create({"name": "x", "disk_format": "raw", "container_format": "bare"})

        def chunks(offset: int) -> Iterator[bytes]:
            told.append(offset)
            yield source.read_bytes()[offset:]

        assert one.stage(image["id"], chunks, 12 * MIB, lambda done: None)
        one.bring_in(image["id"])
    assert told[0] == 0 and all(0 < one < 12 * MIB for one in told[1:]) and len(told) > 1
    assert show(cloud, image)["os_hash_value"] == hashlib.sha512(source.read_bytes()).hexdigest()


def test_an_interrupted_import_leaves_nothing(cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / "large.raw"
    source.write_bytes(os.urandom(12 * MIB))
    with between(cloud, cut=6 * MIB, hang=True) as url:
        process = command(cloud, str(source), OS_AUTH_URL=f"{url}/identity")
        until = time.monotonic() + 60
        while not any(path.startswith(".staged/") for path in files(cloud)):
            assert time.monotonic() < until and process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped" in error and "Traceback" not in out + error
    while files(cloud):
        assert time.monotonic() < until
    assert names(cloud) == []


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of a directory."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_lies_in_the_web_is_fetched_from_here(cloud: TestCloud, web: str, tmp_path: Path) -> None:
    (tmp_path / "debian 12.qcow2").write_bytes(disk(tmp_path, "qcow2"))
    (made,) = brought(cloud, f"{web}/debian%2012.qcow2?x=1", tmp_path)
    assert (made["name"], made["disk_format"]) == ("debian 12", "qcow2")
    with pytest.raises(PileusError, match="404"):
        brought(cloud, f"{web}/nothing", tmp_path)


def test_an_image_of_another_cloud_comes_with_its_properties(cloud: TestCloud, tmp_path: Path) -> None:
    other = TestCloud()
    try:
        fields = {"hw_disk_bus": "scsi", "secret_note": "x", "min_ram": 64}
        there = active(other, "golden", DISK, **fields)
        clouds = {"clouds": {"there": {"auth": {"auth_url": f"{other.url}/identity", "username": "demo", "password": PASSWORD,
            "project_name": "demo", "user_domain_id": "default", "project_domain_id": "default"}}}}  # fmt: skip
        (tmp_path / "clouds.yaml").write_text(json.dumps(clouds))
        process = command(cloud, "cloud:there/golden", "--json", OS_CLIENT_CONFIG_FILE=str(tmp_path / "clouds.yaml"))
        out, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        image = show(cloud, json.loads(out)[0])
        assert (image["name"], image["min_ram"], image["hw_disk_bus"]) == ("golden", 64, "scsi") and "secret_note" not in image
        assert image["os_hash_value"] == there["os_hash_value"] and image["id"] != there["id"]
        process = command(cloud, "cloud:there/nothing", OS_CLIENT_CONFIG_FILE=str(tmp_path / "clouds.yaml"))
        assert "has no image nothing" in process.communicate(timeout=60)[1]
    finally:
        other.close()


VIRSH = """#!/bin/sh
# Answers as libvirt's own command does for a volume of a pool.
case "$*" in
*vol-dumpxml*nothing*) echo "error: failed to get vol 'nothing'" >&2; exit 1;;
*vol-dumpxml*) cat {folder}/volume.xml;;
*vol-download*) for last; do :; done; cp {folder}/kept "$last";;
esac
"""
VOLUME = """<volume type='file'><name>web.qcow2</name><key>{path}</key><capacity unit='bytes'>4194304</capacity>
<target><path>{path}</path><format type='qcow2'/></target>{more}</volume>"""


@pytest.fixture
def virsh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for virsh: what it prints is what the documentation of volumes shows."""
    program = tmp_path / "bin" / "virsh"
    program.parent.mkdir()
    program.write_text(VIRSH.format(folder=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("readable", [True, False])
def test_a_volume_of_libvirt_is_read_where_it_lies_or_fetched(readable: bool, virsh: Path, cloud: TestCloud, tmp_path: Path) -> None:
    (virsh / "kept").write_bytes(disk(tmp_path, "qcow2"))
    path = virsh / "kept" if readable else "rbd/web"
    (virsh / "volume.xml").write_text(VOLUME.format(path=path, more=""))
    (made,) = brought(cloud, "libvirt:default/web.qcow2", tmp_path)
    assert made["name"] == "web" and made["disk_format"] == "qcow2"
    assert flat(cloud, show(cloud, made), tmp_path).rstrip(b"\0") == DISK
    assert not list(tmp_path.glob("pileus-import-*"))


def test_a_volume_that_can_not_be_had_is_told(virsh: Path, cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PileusError, match="failed to get vol"):
        brought(cloud, "libvirt:default/nothing", tmp_path)
    (virsh / "volume.xml").write_text(VOLUME.format(path="/x", more="<backingStore><path>/base.qcow2</path></backingStore>"))
    with pytest.raises(PileusError, match=r"over /base\.qcow2.*qemu-img convert"):
        brought(cloud, "libvirt:default/web", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PileusError, match="apt-get install libvirt-clients"):
        brought(cloud, "libvirt:default/web", tmp_path)
    assert names(cloud) == []


def backup(packed: str) -> bytes:
    """A guest with two disks, packed by a program of this machine."""
    data = archive({"qemu-server.conf": CONFIG}, {"drive-scsi0": b"second" * 20000, "drive-virtio1": DISK, "drive-efidisk0": b"e" * 4096})
    return subprocess.run([packed, "-c"], input=data, capture_output=True, check=True).stdout if packed else data


@pytest.mark.parametrize(("packed", "suffix"), [("", ".vma"), ("zstd", ".vma.zst"), ("gzip", ".vma.gz"), ("lzop", ".vma.lzo")])
def test_a_backup_of_proxmox_becomes_an_image_for_each_disk(packed: str, suffix: str, cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / f"vzdump-qemu-100{suffix}"
    if packed and shutil.which(packed) is None:
        source.write_bytes(b"x")
        with pytest.raises(PileusError, match=f"apt-get install {packed}"):
            brought(cloud, source, tmp_path)
        return
    source.write_bytes(backup(packed))
    first, second = (show(cloud, one) for one in brought(cloud, source, tmp_path))
    assert (first["name"], second["name"]) == ("web", "web-scsi0")
    assert (first["hw_disk_bus"], first["hw_firmware_type"], first["min_ram"]) == ("virtio", "uefi", 2048)
    assert flat(cloud, first, tmp_path).rstrip(b"\0") == DISK
    assert flat(cloud, second, tmp_path).rstrip(b"\0") == b"second" * 20000
    assert not list(tmp_path.glob("pileus-import-*"))


@pytest.mark.parametrize("packed", ["", "gzip"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(packed: str, cloud: TestCloud, tmp_path: Path) -> None:
    source = tmp_path / ("a.vma.gz" if packed else "a.vma")
    source.write_bytes(backup(packed)[:-200])
    with pytest.raises(PileusError, match="damaged"):
        brought(cloud, source, tmp_path)
    assert names(cloud) == [] and not list(tmp_path.glob("pileus-import-*"))


@pytest.mark.parametrize(
    ("source", "words"), [("/nowhere", "There is no /nowhere"), ("/tmp", "is a directory"), ("cloud:x", "expected cloud:")]
)
def test_a_source_that_is_none_is_told(source: str, words: str, cloud: TestCloud, tmp_path: Path) -> None:
    with pytest.raises(PileusError, match=words):
        brought(cloud, source, tmp_path)


def test_a_sparse_image_is_uploaded_converted_and_downloaded_in_constant_memory(tmp_path: Path) -> None:
    cloud = TestCloud(image_import_format="qcow2")
    try:
        source, told = tmp_path / "sparse.raw", list[int]()
        with source.open("wb") as file:
            for at in range(0, 384, 32):
                file.seek(at * MIB)
                file.write(os.urandom(MIB))
            file.truncate(384 * MIB)
        (disk,) = of_file(source)
        one = target(cloud)
        forget_peak()
        before = peak_memory()
        image = one.create({"name": "x", "disk_format": disk.disk_format, "container_format": disk.container_format})
        one.stage(image["id"], disk.chunks, disk.size, told.append)
        staged = cloud.cloud.images / ".staged" / image["id"]
        assert staged.stat().st_blocks * 512 < 16 * MIB  # holes stay holes
        one.bring_in(image["id"])
        assert told[-1] == 384 * MIB and len(told) > 100
        image = show(cloud, image)
        assert (image["disk_format"], image["virtual_size"]) == ("qcow2", 384 * MIB) and image["size"] < 16 * MIB
        got = tmp_path / "got"
        with urllib.request.urlopen(request_of(cloud, image), timeout=60) as answer, got.open("wb") as file:
            shutil.copyfileobj(answer, file, MIB)
        assert peak_memory() - before < 48 * MIB
        subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(source), str(got)], check=True, timeout=120)
    finally:
        cloud.close()


def request_of(cloud: TestCloud, image: dict[str, Any]) -> urllib.request.Request:
    return urllib.request.Request(f"{cloud.url}{IMAGES}/{image['id']}/file", headers={"X-Auth-Token": cloud.token("member")})


def test_an_import_that_fails_after_its_answer_says_why(cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "SOON", 0.0)
    source = tmp_path / "broken.qcow2.gz"
    source.write_bytes(gzip.compress(disk(tmp_path, "qcow2"))[:-20])
    with pytest.raises(PileusError, match=r"The import failed: .*data is damaged"):
        brought(cloud, source, tmp_path)
    assert names(cloud) == [] and files(cloud) == []
