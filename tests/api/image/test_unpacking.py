"""Imports make an image ready for servers: disks of other makers become qcow2, archives are unpacked. Uploads stay as they are."""

import bz2
import gzip
import hashlib
import io
import lzma
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import IMAGES, OCTETS, create, files, import_staged, show, upload

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img, which makes the images, is missing (qemu-utils)")
MIB = 1 << 20
DISK = b"a system" * 4096 + bytes(3 * MIB) + b"its end." * 64
OVF = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References><File ovf:id="f1" ovf:href="{href}"/></References>
  <DiskSection><Info>d</Info><Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="4194304"/></DiskSection>
  <VirtualSystem ovf:id="v"><ProductSection><Product>Appliance</Product><Version>7.1</Version></ProductSection>
    <OperatingSystemSection ovf:id="96"><Description>Debian</Description></OperatingSystemSection>
    <VirtualHardwareSection>
      <Item><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>768</rasd:VirtualQuantity></Item>
      <Item><rasd:ResourceType>20</rasd:ResourceType></Item>
      <Item><rasd:ResourceType>10</rasd:ResourceType><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType></Item>
      <vmw:Config vmw:key="firmware" vmw:value="efi"/>
    </VirtualHardwareSection></VirtualSystem></Envelope>"""


def disk(folder: Path, kind: str = "raw", options: str = "") -> bytes:
    """The disk, in a format."""
    raw, made = folder / "disk.raw", folder / f"disk.{kind}"
    raw.write_bytes(DISK)
    if kind != "raw":
        more = ["-o", options] if options else []
        name = {"vhd": "vpc"}.get(kind, kind)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", name, *more, str(raw), str(made)], check=True, timeout=60)
    return made.read_bytes()


def imported(cloud: TestCloud, data: bytes, **fields: Any) -> tuple[dict[str, Any], Answer]:
    """An image of staged content, and the answer to its import."""
    image = create(cloud, **fields)
    assert cloud.call("PUT", f"{IMAGES}/{image['id']}/stage", token="member", content=data, headers=OCTETS).status == 204
    answer = import_staged(cloud, image)
    return show(cloud, image), answer


def flat(cloud: TestCloud, image: dict[str, Any], folder: Path) -> bytes:
    """The disk that a server would see, by qemu-img."""
    answer = cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member")
    source, target = folder / "seen", folder / "seen.raw"
    source.write_bytes(answer.body)
    assert hashlib.sha512(answer.body).hexdigest() == image["os_hash_value"]
    subprocess.run(["qemu-img", "convert", "-f", image["disk_format"], "-O", "raw", str(source), str(target)], check=True, timeout=60)
    return target.read_bytes()


def zipped(method: int = zipfile.ZIP_DEFLATED, /, **members: bytes) -> bytes:
    """A zip archive of files below a directory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.mkdir("machine")
        for name, data in members.items():
            archive.writestr(f"machine/{name}", data)
    return out.getvalue()


def text_of(answer: Answer) -> str:
    return answer.body.decode()


def configured(cloud: TestCloud, **changes: Any) -> None:
    cloud.cloud.config = msgspec.structs.replace(cloud.cloud.config, **changes)


@pytest.mark.parametrize(
    ("kind", "options"), [("vmdk", "subformat=streamOptimized"), ("vdi", ""), ("vhd", "force_size=on"), ("vhdx", "")], ids=lambda one: one
)
def test_a_disk_of_another_maker_becomes_qcow2(kind: str, options: str, cloud: TestCloud, tmp_path: Path) -> None:
    image, answer = imported(cloud, disk(tmp_path, kind, options), disk_format=kind)
    assert answer.status == 202
    assert (image["status"], image["disk_format"], image["container_format"]) == ("active", "qcow2", "bare")
    assert flat(cloud, image, tmp_path).rstrip(b"\0") == DISK
    assert len(files(cloud)) == 1


def test_raw_and_qcow2_stay_as_they_are(cloud: TestCloud, tmp_path: Path) -> None:
    for kind in ("raw", "qcow2"):
        data = disk(tmp_path, kind)
        image, _ = imported(cloud, data, disk_format=kind)
        assert image["disk_format"] == kind and image["os_hash_value"] == hashlib.sha512(data).hexdigest()


@pytest.mark.parametrize(("wanted", "kind"), [("raw", "qcow2"), ("qcow2", "raw"), ("raw", "vdi")])
def test_an_operator_may_have_all_of_one_format(wanted: str, kind: str, cloud: TestCloud, tmp_path: Path) -> None:
    configured(cloud, image_import_format=wanted)
    image, _ = imported(cloud, disk(tmp_path, kind), disk_format=kind)
    assert image["disk_format"] == wanted
    assert flat(cloud, image, tmp_path).rstrip(b"\0") == DISK


def test_an_upload_is_never_converted(cloud: TestCloud, tmp_path: Path) -> None:
    data = disk(tmp_path, "vdi")
    image = create(cloud, disk_format="vdi")
    assert upload(cloud, image, data).status == 204
    assert show(cloud, image)["disk_format"] == "vdi"
    assert show(cloud, image)["os_hash_value"] == hashlib.sha512(data).hexdigest()


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
        lambda data: zipped(disk=data),
        lambda data: zipped(zipfile.ZIP_STORED, disk=data),
    ],
)
def test_a_compressed_image_is_unpacked(pack: Callable[[bytes], bytes], cloud: TestCloud, tmp_path: Path) -> None:
    image, answer = imported(cloud, pack(disk(tmp_path)), container_format="compressed")
    assert answer.status == 202
    assert (image["container_format"], image["disk_format"], image["size"]) == ("bare", "raw", len(DISK))
    assert image["os_hash_value"] == hashlib.sha512(DISK).hexdigest()


def test_a_compressed_disk_of_another_maker_is_unpacked_and_converted(cloud: TestCloud, tmp_path: Path) -> None:
    image, _ = imported(cloud, gzip.compress(disk(tmp_path, "vdi")), container_format="compressed", disk_format="vdi")
    assert (image["container_format"], image["disk_format"]) == ("bare", "qcow2")
    assert flat(cloud, image, tmp_path).rstrip(b"\0") == DISK


def test_a_disk_that_can_be_told_from_an_archive_is_unpacked_though_nobody_said_that_it_is_packed(cloud: TestCloud, tmp_path: Path) -> None:
    image, _ = imported(cloud, lzma.compress(disk(tmp_path, "qcow2")), disk_format="qcow2")
    assert (image["status"], image["container_format"], image["disk_format"]) == ("active", "bare", "qcow2")
    assert flat(cloud, image, tmp_path).rstrip(b"\0") == DISK
    packed = gzip.compress(DISK)
    image, _ = imported(cloud, packed)
    assert image["os_hash_value"] == hashlib.sha512(packed).hexdigest()  # it may be what a raw disk holds


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(DISK)[:-40], "damaged"),
        (b"PK\x03\x04" + bytes(600), "zip data is damaged"),
        (zipped(one=DISK)[:-40], "zip data is damaged"),
        (zipped(one=DISK, other=DISK), "holds 2 files"),
        (zipped(zipfile.ZIP_BZIP2, one=DISK), "something else than deflate"),
        (zipped(zipfile.ZIP_STORED, one=DISK).replace(b"a system", b"A system", 1), "zip data is damaged"),
        (gzip.compress(b"QFI\xfb" + bytes(2000)), "looks like qcow2"),
    ],
    ids=["cut off", "no zip", "zip cut off", "two files", "packed otherwise", "another checksum", "not what it says"],
)
def test_what_can_not_be_unpacked_is_told_and_leaves_nothing(data: bytes, reason: str, cloud: TestCloud) -> None:
    image, answer = imported(cloud, data, container_format="compressed")
    assert answer.status == 400 and reason in text_of(answer)
    assert image["status"] == "queued" and files(cloud) == []


@pytest.mark.parametrize("name", ["zstandard", "lz4.frame"])
def test_zstd_and_lz4_are_unpacked_frame_by_frame(name: str, cloud: TestCloud, tmp_path: Path) -> None:
    compress = pytest.importorskip(name).compress
    data = disk(tmp_path)
    image, answer = imported(cloud, compress(data[:5000]) + compress(data[5000:]), container_format="compressed")
    assert answer.status == 202, answer
    assert (image["container_format"], image["size"]) == ("bare", len(DISK))
    assert image["os_hash_value"] == hashlib.sha512(DISK).hexdigest()
    for damaged in (compress(data)[:-40], compress(data)[:4] + b"\xff" * 500):
        image, answer = imported(cloud, damaged, container_format="compressed")
        assert answer.status == 400 and "data is damaged" in text_of(answer)
        assert image["status"] == "queued"
    assert len(files(cloud)) == 1


@pytest.mark.parametrize(("magic", "package"), [(b"\x28\xb5\x2f\xfd", "zstandard"), (b"\x04\x22\x4d\x18", "lz4")])
def test_a_package_that_is_missing_is_named(magic: bytes, package: str, cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    image, answer = imported(cloud, magic + bytes(600), container_format="compressed")
    assert answer.status == 400 and f"package {package} is missing" in text_of(answer)
    assert image["status"] == "queued" and files(cloud) == []


def test_what_is_empty_takes_no_room(cloud: TestCloud) -> None:
    data = b"begin" + bytes(32 * MIB) + b"end"
    image, _ = imported(cloud, gzip.compress(data), container_format="compressed")
    assert image["os_hash_value"] == hashlib.sha512(data).hexdigest()
    kept = cloud.cloud.images / hashlib.sha256(data).hexdigest()
    assert kept.stat().st_blocks * 512 < MIB


def test_what_grows_beyond_the_limit_is_refused(cloud: TestCloud) -> None:
    configured(cloud, image_size_limit=MIB)
    image, answer = imported(cloud, gzip.compress(bytes(2 * MIB)), container_format="compressed")
    assert b"larger than" in answer.body and image["status"] == "queued" and files(cloud) == []
    image, answer = imported(cloud, vdi_of(1 << 40), disk_format="vdi")
    assert "upload" in text_of(answer).lower() and files(cloud) == []


def vdi_of(size: int) -> bytes:
    """An empty VDI that claims to be so large."""
    header = bytearray(512)
    struct.pack_into("<IIII", header, 0x40, 0xBEDA107F, 0x10001, 400, 1)
    struct.pack_into("<II", header, 0x154, 512, 1024)
    struct.pack_into("<QIII", header, 0x170, size, MIB, 0, size // MIB)
    return bytes(header) + b"\xff" * 512


def ova(description: str, **members: bytes) -> bytes:
    """An archive as virtualization products export it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {"machine.ovf": description.encode(), **members}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_an_ova_becomes_its_disk_and_its_description_properties(cloud: TestCloud, tmp_path: Path) -> None:
    data = ova(OVF.format(href="machine.vmdk"), **{"machine.vmdk": disk(tmp_path, "vmdk", "subformat=streamOptimized")})
    image, answer = imported(cloud, data, container_format="ova", disk_format="vmdk", hw_vif_model="virtio")
    assert answer.status == 202, answer
    assert (image["container_format"], image["disk_format"], image["min_ram"], image["min_disk"]) == ("bare", "qcow2", 768, 1)
    assert {name: image.get(name) for name in ("hw_cpu_cores", "hw_disk_bus", "hw_vif_model", "hw_firmware_type", "ovf_product")} == {
        "hw_cpu_cores": "2",
        "hw_disk_bus": "sata",
        "hw_vif_model": "virtio",
        "hw_firmware_type": "uefi",
        "ovf_product": "Appliance",
    }
    assert image["ovf_version"] == "7.1" and image["ovf_operating_system"] == "Debian"
    assert flat(cloud, image, tmp_path).rstrip(b"\0") == DISK


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        (OVF.format(href="/etc/passwd"), "has no file"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + OVF.format(href="machine.vmdk").partition("?>")[2], "declares types"),
        ("<Envelope/>", "names 0 disks"),
        ("<Envelope", "can't be read"),
    ],
    ids=["elsewhere", "entities", "no disk", "no document"],
)
def test_an_ova_that_is_not_sound_is_refused(description: str, reason: str, cloud: TestCloud) -> None:
    image, answer = imported(cloud, ova(description, **{"machine.vmdk": b"x" * 600}), container_format="ova", disk_format="vmdk")
    assert answer.status == 400 and reason in text_of(answer).replace("&#x27;", "'")
    assert image["status"] == "queued" and files(cloud) == []


SEVERAL = (
    OVF.replace(
        '<File ovf:id="f1" ovf:href="{href}"/>',
        '<File ovf:id="f1" ovf:href="data.raw"/><File ovf:id="f2" ovf:href="boot.gz" ovf:compression="gzip"/>',  # fmt: skip,
    )
    .replace(
        '<Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="4194304"/>',
        '<Disk ovf:diskId="d1" ovf:fileRef="f1"/><Disk ovf:diskId="d2" ovf:fileRef="f2"/><Disk ovf:diskId="d3" ovf:capacity="9"/>',
    )
    .replace(
        "<Item><rasd:ResourceType>20</rasd:ResourceType></Item>",
        """<Item><rasd:InstanceID>7</rasd:InstanceID><rasd:ResourceType>20</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>1</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/d1</rasd:HostResource><rasd:Parent>7</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/d2</rasd:HostResource><rasd:Parent>7</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType></Item>""",
    )
)


def test_of_several_disks_the_one_that_the_machine_starts_from_is_taken_and_the_others_are_named(cloud: TestCloud) -> None:
    data = ova(SEVERAL, **{"data.raw": b"data" * 512, "boot.gz": gzip.compress(DISK)})
    image, answer = imported(cloud, data, container_format="ova", disk_format="raw")
    assert answer.status == 202, answer
    assert (image["ovf_disk"], image["ovf_disks"]) == ("boot.gz", "boot.gz,data.raw")
    assert image["os_hash_value"] == hashlib.sha512(DISK).hexdigest()


def test_another_disk_of_an_ova_is_taken_when_it_is_named(cloud: TestCloud) -> None:
    data = ova(SEVERAL, **{"data.raw": b"data" * 512, "boot.gz": gzip.compress(DISK)})
    image, _ = imported(cloud, data, container_format="ova", disk_format="raw", ovf_disk="data.raw")
    assert image["os_hash_value"] == hashlib.sha512(b"data" * 512).hexdigest()
    image, answer = imported(cloud, data, container_format="ova", disk_format="raw", ovf_disk="machine.ovf")
    assert answer.status == 400 and "names no disk" in text_of(answer)


def claiming(size: int, kind: bytes) -> bytes:
    """A tar header that claims a file, or a header of pax, of a size."""
    info = tarfile.TarInfo("machine.ovf")
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (ova(OVF.format(href="machine.vmdk"), **{"machine.vmdk": b"x" * 600})[:3300], "beyond its end"),
        (claiming(600, tarfile.REGTYPE)[:500] + bytes(200), "no sound tar archive"),
        (claiming(1 << 40, tarfile.REGTYPE) + bytes(4096), "beyond its end"),
        (ova(" " * (1 << 21), **{"machine.vmdk": b"x"}), "too long"),
        (claiming(1 << 40, tarfile.XHDTYPE) + bytes(4096), "claims to have"),
        (claiming(1024, tarfile.XHDTYPE) * 3000, "no sound tar archive"),
    ],
    ids=["cut off", "another checksum", "beyond its end", "a long description", "a long header", "headers without end"],
)
def test_a_damaged_archive_is_refused_with_a_reason(data: bytes, reason: str, cloud: TestCloud) -> None:
    image, answer = imported(cloud, data, container_format="ova", disk_format="vmdk")
    assert answer.status == 400 and reason in text_of(answer), answer
    assert image["status"] == "queued" and files(cloud) == []
