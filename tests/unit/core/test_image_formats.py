"""What the inspector makes of headers, byte by byte, and of bytes that are no format at all."""

import struct
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pileus.core.image_formats import Inspector, Sample, check
from pileus.core.image_formats.check import PARSERS, find
from pileus.core.image_formats.microsoft import METADATA_REGION, PARENT_LOCATOR
from pileus.core.image_formats.others import ISO_DESCRIPTOR
from pileus.core.image_formats.sample import HEAD, TAIL
from pileus.model.errors import Invalid

MIB = 1 << 20
DESCRIPTOR = '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID={parent}\ncreateType="{kind}"\n{extents}\n{more}\n'


def sample(data: bytes, chunk: int = 100_000) -> Sample:
    """The data as the inspector keeps it when fed in chunks."""
    inspector = Inspector()
    for start in range(0, len(data), chunk):
        inspector.feed(data[start : start + chunk])
    return inspector.sample()


def accepted(data: bytes, disk_format: str, container_format: str = "bare") -> int | None:
    return check(sample(data), disk_format, container_format)


def refusal(data: bytes, disk_format: str, container_format: str = "bare") -> str:
    with pytest.raises(Invalid) as refused:
        accepted(data, disk_format, container_format)
    return refused.value.message


def qcow2(version: int = 3, backing: int = 0, size: int = 10 * MIB, crypt: int = 0, features: int = 0, bits: int = 16) -> bytes:
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", version, backing, 10 if backing else 0, bits, size, crypt)
    return head.ljust(72, b"\0") + struct.pack(">QQQII", features, 0, 0, 4, 104) + bytes(4096)


def vmdk(
    kind: str = "monolithicSparse", parent: str = "ffffffff", extents: str = 'RW 20480 SPARSE "disk.vmdk"', more: str = "", **header: int
) -> bytes:
    values = {"version": 1, "flags": 3, "capacity": 20480, "grain": 128, "where": 1, "length": 20, **header}
    directory = values.pop("directory", 21)
    footer = values.pop("footer", 0)
    head = b"KDMV" + struct.pack("<IIQQQQ", *values.values())
    head = head.ljust(56, b"\0") + struct.pack("<Q", directory)
    text = DESCRIPTOR.format(parent=parent, kind=kind, extents=extents, more=more).encode()
    body = head.ljust(512, b"\0") + text.ljust(20 * 512, b"\0") + bytes(8192)
    if footer:
        last = head[:32].replace(struct.pack("<Q", values["capacity"]), struct.pack("<Q", footer)) + head[32:56] + struct.pack("<Q", 5)
        body += bytes(512) + last.ljust(512, b"\0") + bytes(512)
    return body


def vhd(kind: int, at_start: bool, size: int = 10 * MIB, content: bytes = b"") -> bytes:
    footer = (b"conectix" + bytes(40) + struct.pack(">Q", size) + bytes(4) + struct.pack(">I", kind)).ljust(512, b"\0")
    return (footer if at_start else b"") + content.ljust(4096, b"\0") + footer


def vhdx(flags: int = 0, parent: bool = False, log: bytes = bytes(16), metadata_at: int = 2 * MIB, size: int = 10 * MIB) -> bytes:
    data = bytearray(metadata_at + 256 * 1024 if metadata_at >= MIB else 3 * MIB)
    data[:8] = b"vhdxfile"
    for start in (64 * 1024, 128 * 1024):
        data[start : start + 64] = b"head".ljust(48, b"\0") + log
    data[192 * 1024 : 192 * 1024 + 48] = (
        b"regi" + bytes(4) + struct.pack("<II", 1, 0) + METADATA_REGION + struct.pack("<QII", metadata_at, MIB, 1)
    )
    if metadata_at < MIB:
        return bytes(data)
    items = [
        ("caa16737-fa36-4d43-b3b6-33f0aa44e76b", struct.pack("<II", MIB, flags)),
        ("2fa54224-cd1b-4876-b211-5dbed83bf4b8", struct.pack("<Q", size)),
    ]
    table = [(uuid.UUID(name).bytes_le, value) for name, value in items] + ([(PARENT_LOCATOR, b"x" * 8)] if parent else [])
    data[metadata_at : metadata_at + 32] = b"metadata" + bytes(2) + struct.pack("<H", len(table)) + bytes(20)
    for index, (name, value) in enumerate(table):
        entry, where = metadata_at + 32 + 32 * index, 65536 + 16 * index
        data[entry : entry + 32] = name + struct.pack("<IIII", where, len(value), 0, 0)
        data[metadata_at + where : metadata_at + where + len(value)] = value
    return bytes(data)


def vdi(kind: int = 1, link: bytes = b"", major: int = 1) -> bytes:
    data = bytearray(1024)
    struct.pack_into("<II", data, 0x40, 0xBEDA107F, major << 16 | 1)
    struct.pack_into("<I", data, 0x4C, kind)
    struct.pack_into("<Q", data, 0x170, 10 * MIB)
    data[0x1A8 : 0x1A8 + len(link)] = link
    return bytes(data)


def iso(head: bytes = b"") -> bytes:
    return head.ljust(ISO_DESCRIPTOR + 1, b"\0") + b"CD001" + bytes(4096)


def tar(name: str) -> bytes:
    return name.encode().ljust(257, b"\0") + b"ustar\0".ljust(1000, b"\0")


LUKS1 = (b"LUKS\xba\xbe" + struct.pack(">H", 1)).ljust(104, b"\0") + struct.pack(">I", 4) + bytes(8192)
LUKS2 = (b"LUKS\xba\xbe" + struct.pack(">HQ", 2, 8192)).ljust(
    4096, b"\0"
) + b'{"segments": {"0": {"offset": "8192", "size": "dynamic"}}}'.ljust(12288, b"\0")
PLOOP = b"WithouFreSpacExt".ljust(36, b"\0") + struct.pack("<Q", 20480) + bytes(100)
STREAM = {"kind": "streamOptimized", "version": 3, "directory": 0xFFFFFFFFFFFFFFFF}

GOOD = {
    "qcow2 v2": (qcow2(version=2), "qcow2", 10 * MIB),
    "qcow2 v3": (qcow2(), "qcow2", 10 * MIB),
    "qcow2 with compression type and extended L2": (qcow2(features=0b11000), "qcow2", 10 * MIB),
    "vmdk sparse": (vmdk(), "vmdk", 10 * MIB),
    "vmdk stream": (vmdk(**STREAM, footer=20480), "vmdk", 10 * MIB),
    "vdi": (vdi(), "vdi", 10 * MIB),
    "vhd dynamic": (vhd(3, True), "vhd", 10 * MIB),
    "vhd fixed": (vhd(2, False), "vhd", 10 * MIB),
    "vhdx": (vhdx(), "vhdx", 10 * MIB),
    "iso": (iso(), "iso", len(iso())),
    "iso that is a disk too": (iso(head=bytes(510) + b"\x55\xaa"), "iso", len(iso())),
    "raw": (b"\x12" * 5000, "raw", 5000),
    "raw that is an ISO too": (iso(), "raw", len(iso())),
    "nothing at all": (b"", "raw", 0),
    "luks 1": (LUKS1, "luks", len(LUKS1) - 2048),
    "luks 2": (LUKS2, "luks", len(LUKS2) - 8192),
    "ploop": (PLOOP, "ploop", 10 * MIB),
}
BAD = {
    "backing file": (qcow2(backing=200), "qcow2", "backing file"),
    "backing file in v2": (qcow2(version=2, backing=200), "qcow2", "backing file"),
    "data file": (qcow2(features=4), "qcow2", "data file"),
    "unknown feature": (qcow2(features=1 << 9), "qcow2", "incompatible features"),
    "corrupt": (qcow2(features=2), "qcow2", "corrupt"),
    "encrypted": (qcow2(crypt=2), "qcow2", "encrypted"),
    "absurd clusters": (qcow2(bits=40), "qcow2", "damaged"),
    "a disk of exabytes": (vhd(3, True, size=1 << 63), "vhd", "damaged"),
    "qcow 1": (qcow2(version=1), "qcow2", "version 1"),
    "qcow2 cut off": (qcow2()[:80], "qcow2", "cut off"),
    "vmdk of two files": (vmdk(extents='RW 1 SPARSE "a"\nRW 1 SPARSE "b"'), "vmdk", "other files"),
    "vmdk of a flat file": (vmdk(extents='RW 1 FLAT "/etc/shadow" 0'), "vmdk", "other files"),
    "vmdk with a path": (vmdk(extents='RW 1 SPARSE "/etc/shadow"'), "vmdk", "by its path"),
    "vmdk of another type": (vmdk(kind="monolithicFlat"), "vmdk", "createType"),
    "vmdk with a parent": (vmdk(parent="12345678"), "vmdk", "parent"),
    "vmdk with a parent's name": (vmdk(more='parentFileNameHint="/etc/shadow"'), "vmdk", "parent"),
    "vmdk without size": (vmdk(capacity=0), "vmdk", "no size"),
    "vmdk with a far descriptor": (vmdk(where=7), "vmdk", "descriptor"),
    "vmdk whose footer lies": (vmdk(**STREAM, footer=1), "vmdk", "footer"),
    "vmdk without its footer": (vmdk(**STREAM), "vmdk", "footer"),
    "vmdk descriptor": (b'# Disk DescriptorFile\nversion=1\nRW 1 FLAT "/etc/shadow" 0\n', "vmdk", "names other files"),
    "vmdk descriptor behind comments": (b"# hello\n\nversion=1\n", "vmdk", "names other files"),
    "vmdk of an ESX host": (b"COWD" + bytes(600), "vmdk", "ESX"),
    "differencing vhd": (vhd(4, True), "vhd", "parent"),
    "vhd without footer": (vhd(3, True)[:-512] + bytes(512), "vhd", "footer"),
    "vhd of an unknown type": (vhd(9, True), "vhd", "type 9"),
    "vhd with two minds": (vhd(2, True), "vhd", "differ"),
    "differencing vhdx": (vhdx(flags=2), "vhdx", "parent"),
    "vhdx with a parent locator": (vhdx(parent=True), "vhdx", "parent"),
    "vhdx with an open log": (vhdx(log=b"x" * 16), "vhdx", "closed cleanly"),
    "vhdx without metadata": (vhdx(metadata_at=0), "vhdx", "metadata"),
    "vdi differencing": (vdi(kind=4), "vdi", "parent"),
    "vdi with a link": (vdi(link=b"x" * 16), "vdi", "parent"),
    "vdi of the future": (vdi(major=2), "vdi", "version 2"),
    "luks of the future": (b"LUKS\xba\xbe\0\x09" + bytes(500), "luks", "version 9"),
    "luks without a header": (b"LUKS\xba\xbe\0\x02" + bytes(5000), "luks", "damaged"),
    "qcow2 said to be raw": (qcow2(), "raw", "looks like qcow2"),
    "QED said to be raw": (b"QED\0" + bytes(600), "raw", "looks like qed"),
    "descriptor said to be raw": (b"# Disk DescriptorFile\n", "raw", "looks like vmdk"),
    "LUKS said to be raw": (LUKS1, "raw", "looks like luks"),
    "raw said to be qcow2": (bytes(600), "qcow2", "looks like a raw disk"),
    "raw said to be iso": (bytes(60000), "iso", "looks like a raw disk"),
    "vdi said to be vmdk": (vdi(), "vmdk", "looks like vdi"),
    "qcow2 with an ISO inside said to be iso": (iso(head=qcow2()), "iso", "looks like qcow2"),
    "fixed vhd whose content is qcow2": (vhd(2, False, content=qcow2()), "vhd", "looks like qcow2"),
    "fixed vhd said to be raw": (vhd(2, False), "raw", "looks like vhd"),
}


@pytest.mark.parametrize("name", GOOD)
def test_an_image_that_is_what_it_says_is_accepted_with_its_size(name: str) -> None:
    data, disk_format, size = GOOD[name]
    assert accepted(data, disk_format) == size


@pytest.mark.parametrize("name", BAD)
def test_an_image_that_is_not_to_be_trusted_is_refused_with_the_reason(name: str) -> None:
    data, disk_format, words = BAD[name]
    assert words in refusal(data, disk_format)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("chunk", [511, 65536, 8 * MIB])
def test_the_size_of_chunks_makes_no_difference(name: str, chunk: int) -> None:
    data, _, _ = GOOD[name]
    assert sample(data, chunk) == sample(data)


def test_kernels_are_not_disks_in_disguise() -> None:
    assert accepted(b"\x7fELF" + bytes(600), "aki", "aki") is None
    assert accepted(bytes(600), "ami", "ami") == 600
    assert "looks like qcow2" in refusal(qcow2(), "ari", "ari")


def test_archives_and_compressed_images_are_what_their_container_says() -> None:
    assert accepted(tar("disk.ovf"), "vmdk", "ova") is None
    assert "first file" in refusal(tar("disk.vmdk"), "vmdk", "ova")
    assert "no tar archive" in refusal(bytes(600), "vmdk", "ova")
    assert accepted(tar("manifest.json"), "raw", "docker") is None
    assert accepted(b"\x1f\x8b" + bytes(600), "raw", "docker") is None
    assert "no tar archive" in refusal(bytes(600), "raw", "docker")
    assert accepted(b"\x28\xb5\x2f\xfd" + bytes(60), "qcow2", "compressed") is None
    assert "not compressed" in refusal(qcow2(), "qcow2", "compressed")
    assert accepted(qcow2(), "qcow2", "ovf") == 10 * MIB


MAGICS = [
    b"QFI\xfb",
    b"QED\0",
    b"KDMV",
    b"COWD",
    b"# Disk DescriptorFile\n",
    b"conectix",
    b"vhdxfile",
    b"LUKS\xba\xbe\0\1",
    b"LUKS\xba\xbe\0\2",
    b"WithoutFreeSpace",
]


@given(st.sampled_from([b"", *MAGICS]), st.binary(max_size=3000), st.binary(max_size=600), st.integers(1, 5000))
def test_no_bytes_make_the_parsers_fail(magic: bytes, body: bytes, end: bytes, chunk: int) -> None:
    seen = sample(magic + body + end, chunk)
    assert seen.size == len(magic + body + end)
    for found in find(seen):
        assert found.refusal is None or found.refusal


@settings(max_examples=60)
@given(st.sampled_from(sorted(GOOD)), st.integers(0, 20000), st.binary(min_size=1, max_size=40))
def test_a_damaged_image_is_accepted_or_refused_but_nothing_worse(name: str, where: int, noise: bytes) -> None:
    data, disk_format, _ = GOOD[name]
    damaged = data[:where] + noise + data[where + len(noise) :]
    try:
        size = accepted(damaged, disk_format)
    except Invalid as error:
        assert error.message
    else:
        assert size is None or size >= 0


@given(st.sampled_from(sorted(GOOD)), st.integers(0, 70000))
def test_a_cut_image_is_accepted_or_refused_but_nothing_worse(name: str, length: int) -> None:
    seen = sample(GOOD[name][0][:length])
    for parser in PARSERS:
        parser(seen)


def test_memory_is_bounded_whatever_the_length() -> None:
    inspector = Inspector()
    block = bytes(4 * MIB)
    for _ in range(64):
        inspector.feed(block)
    seen = inspector.sample()
    assert (seen.size, len(seen.head), len(seen.tail), len(seen.region)) == (256 * MIB, HEAD, TAIL, 0)


def test_vhdx_metadata_beyond_the_head_is_caught_in_passing() -> None:
    assert accepted(vhdx(metadata_at=9 * MIB), "vhdx") == 10 * MIB
