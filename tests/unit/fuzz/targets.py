"""What parses bytes, and what must hold whatever they are: only our own errors, bounded results, one answer however the bytes come."""

import atexit
import base64
import bz2
import contextlib
import gzip
import hashlib
import io
import json
import lzma
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from pileus.api.compute import certificates, fields, ssh_keys
from pileus.api.identity.tokens import FernetTokens
from pileus.api.image import containers, unpacking
from pileus.api.image.files import look_through
from pileus.api.network import validators
from pileus.api.placement import queries
from pileus.bus import encoding, nkeys
from pileus.cli.settings import load
from pileus.core import access_rules, images, json_bounds, openid, vma, websso
from pileus.core.disk_headers import empty_qcow2, read_backing_name, read_qcow2_header
from pileus.core.image_formats import Inspector, check
from pileus.core.image_formats.check import LARGEST
from pileus.core.image_formats.sample import HEAD, TAIL
from pileus.core.image_sources import public, source
from pileus.core.iso9660 import SECTOR, iso9660
from pileus.core.mapping_engine import evaluate
from pileus.core.metadata import decoded
from pileus.core.patterns import Pattern
from pileus.core.qemu_argv import Launch, is_q35, qemu_argv
from pileus.model.errors import Invalid, PileusError
from pileus.model.guests import Guest
from pileus.model.images import Image, ImageStatus, Visibility
from pileus.node.network.metadata import lookup, response
from tests.unit.core.test_image_formats import BAD, GOOD
from tests.unit.core.test_iso9660 import read
from tests.unit.core.vma_writer import archive as vma_archive

FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "luks", "ploop", "ami", "aki")
CONTAINERS = ("bare", "ovf", "ova", "docker", "compressed", "ami")
DOCUMENTS = {"latest/meta-data/instance-id": "i-1", "openstack/latest/meta_data.json": "{}", "latest/user-data": "#!\r\n\r\nsecret"}
FOUND = tempfile.mkdtemp(prefix="pileus-fuzz-")
atexit.register(shutil.rmtree, FOUND, ignore_errors=True)
REFUSED = contextlib.suppress(PileusError)
"""Ours: what a user is told."""


def _tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk", data)
    return out.getvalue()


CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": ["sha256:" + hashlib.sha256(b"layer").hexdigest()]}})
NAMES = b'[{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l/layer.tar"]}]'
SAVED = _tar(**{"manifest.json": NAMES, "c.json": CONFIG.encode(), "l/layer.tar": b"layer"})
MANIFEST = json.dumps({"config": {"digest": "sha256:" + hashlib.sha256(CONFIG.encode()).hexdigest(), "size": len(CONFIG)}})
LAYOUT = _tar(
    **{
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        **{f"blobs/sha256/{hashlib.sha256(one.encode()).hexdigest()}": one.encode() for one in (CONFIG, MANIFEST)},
        "index.json": json.dumps(
            {"manifests": [{"digest": "sha256:" + hashlib.sha256(MANIFEST.encode()).hexdigest(), "size": len(MANIFEST)}]}
        ).encode(),
    }
)
OVF = b"""<Envelope xmlns:ovf="o"><References><File ovf:id="f" ovf:href="d.raw"/></References>
<DiskSection><Disk ovf:diskId="d" ovf:fileRef="f"/>
</DiskSection><Item><InstanceID>1</InstanceID><ResourceType>17</ResourceType><HostResource>ovf:/disk/d</HostResource></Item></Envelope>"""
IMAGE_ARCHIVES = [
    *(SAVED + b"\0\1", LAYOUT + b"\0\1", _tar(**{"m.ovf": OVF, "d.raw": b"disk" * 300}) + b"\0\0"),
    *(pack(b"disk" * 3000) + b"\0\2" for pack in (gzip.compress, bz2.compress, lzma.compress, _zip)),
    empty_qcow2(1 << 20) + b"\1\3",
]
"""Each with two bytes at its end that say what it is said to be."""


class Numbers:
    """Small choices and texts, taken from the end of the input so that its beginning stays what a parser reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def number(self, below: int) -> int:
        """One of so many."""
        last, self.data = self.data[-1:] or b"\0", self.data[:-1]
        return last[0] % below


def image_inspection(data: bytes) -> None:
    """Images as they are uploaded. What is accepted names no file, for the API's parser as for the host's."""
    taken = Numbers(data)
    said, container, step = FORMATS[taken.number(len(FORMATS))], CONTAINERS[taken.number(len(CONTAINERS))], taken.number(255) * 37 + 1
    whole, parts = Inspector(), Inspector()
    whole.feed(taken.data)
    for start in range(0, len(taken.data), step):
        parts.feed(taken.data[start : start + step])
    sample = whole.sample()
    assert parts.sample() == sample and len(sample.head) <= HEAD and len(sample.tail) <= TAIL
    try:
        size = check(sample, said, container)
    except Invalid as refusal:
        assert 0 < len(refusal.message) < 2000
        return
    assert size is None or 0 <= size <= LARGEST
    if container not in ("bare", "ami"):
        return
    header = read_qcow2_header(taken.data)
    assert header is None or (said == "qcow2" and not header.backing_file and not header.data_file and not header.encrypted)
    assert said == "vmdk" or not taken.data.startswith((b"KDMV", b"COWD"))
    descriptor = taken.data[512:200_000].partition(b"\0")[0] if taken.data.startswith(b"KDMV") else b""
    assert not re.search(rb"^\s*RW\s+\d+\s+(FLAT|VMFS|ZERO)", descriptor, re.MULTILINE)


def disk_headers(data: bytes) -> None:
    """What a host reads of a disk."""
    header = read_qcow2_header(data)
    assert header is None or 0 <= header.virtual_size < 1 << 64
    assert len(read_backing_name(data)) <= len(data)


def config_drive(data: bytes) -> None:
    """Paths and contents of tenants become files of those names and nothing else."""
    files: dict[str, bytes] = {}
    for line in data.split(b"\n")[:40]:
        path, _, content = line.partition(b"=")
        files[path.decode("utf-8", "replace")] = content
    try:
        made = iso9660(files, "config-2", (2026, 1, 2, 3, 4, 5))
    except Invalid:
        return
    assert len(made) % SECTOR == 0
    assert read(made, "rock ridge") == files


def metadata_request(data: bytes) -> None:
    """Requests of guests to the metadata service."""
    answer = response(data, DOCUMENTS)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 ") and len(lines) == 5
    assert body == b"" or int(next(line for line in lines if line.startswith(b"Content-Length")).split(b":")[1]) == len(body)
    assert response(data, None).split(b" ", 2)[1] in (b"400", b"404", b"405")
    found = lookup(DOCUMENTS, data.decode("latin-1"))
    assert found is None or found in DOCUMENTS.values() or "secret" not in found


def user_data(data: bytes) -> None:
    """User data: base64 in the API, text for the guest."""
    text = data.decode("latin-1")
    with REFUSED:
        raw = fields.decoded(text, "user_data")
        assert len(raw) <= len(data)
        shown = decoded(text)
        assert shown is None or shown.encode("utf-8", "surrogateescape") == raw or shown.encode("latin-1") == raw
    packed = base64.b64encode(data).decode()
    assert fields.decoded(packed, "user_data") == data
    assert (decoded(packed) or "").encode() == data or (decoded(packed) or "").encode("latin-1") == data


def settings(data: bytes) -> None:
    """config.json."""
    folder = Path(FOUND)
    (folder / "config.json").write_bytes(data)
    with REFUSED:
        assert load(folder).state == FOUND


def bus_messages(data: bytes) -> None:
    """What other hosts say: typed messages or Invalid."""
    for read_one in (encoding.request, encoding.reply, encoding.report):
        try:
            found = read_one(data)
        except Invalid:
            continue
        assert read_one(encoding.encode(found)) == found


def image_patch(data: bytes) -> None:
    """JSON patches of images."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raw = msgspec.json.decode(data)
        if json_bounds.problem(raw):
            return
        image = Image(id="i", owner="p", name="n", status=ImageStatus.QUEUED, visibility=Visibility.PRIVATE, properties={"a": "b"})
        for old in (False, True):
            with REFUSED:
                changed = images.patched(image, images.parse_patch(raw, old))
                assert not changed.keys() & {"id", "owner_id", "status", "content", "checksum", "size", "virtual_size"}
                json.dumps(changed, default=str)


def public_keys(data: bytes) -> None:
    """Keys of users: SSH and X.509; and keys of NATS."""
    text = data.decode("utf-8", "replace")
    with REFUSED:
        kept, mark = ssh_keys.inspect(text, "ssh")
        assert kept == text and len(mark) == 47
    with REFUSED:
        assert len(certificates.fingerprint(text)) >= 32
    with REFUSED:
        assert nkeys.check_public(text, "user") == text


def tokens(data: bytes) -> None:
    """Tokens: nothing that we have not made is one."""
    with REFUSED:
        TOKENS.inspect(data.decode("latin-1"))
        raise AssertionError("a token of nobody's was accepted")
    with REFUSED:
        TOKENS.inspect(TOKENS.ring.encrypt(data).decode())  # as if a key were known: no other error than ours all the same


def openid_words(data: bytes) -> None:
    """What users of identity providers show, and what those say: texts come of it, or nobody; and never another dashboard."""
    text = data.decode(errors="replace")
    header = openid.header_of(text)
    with REFUSED:
        if header is not None:
            openid.check_header(header, [])
            assert header.alg in openid.ALGORITHMS
    with REFUSED:
        assert openid.metadata_of(data, ISSUER).issuer == ISSUER
    with REFUSED:
        assert websso.trusted(text, ["https://dashboard.example/sso"]).lower() == "https://dashboard.example/sso"
    assert ";" not in (websso.cookie_of(text, "a") or "")
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = openid.assertion_of(msgspec.json.decode(data, type=dict[str, Any]))
        with REFUSED:
            evaluate(RULES_OF_A_MAPPING, "3.0", said)
        with REFUSED:
            openid.check_claims(said, ISSUER, ["c"], 0.0)
            raise AssertionError("lists are no claims")


ISSUER = "https://idp.example"
RULES_OF_A_MAPPING = [
    {
        "local": [
            {"user": {"name": "{0}", "id": "{0}-{1}"}, "groups": "{1}", "group_ids": "['{0}']", "domain": {"name": "{0}"}},
            {"projects_json": "{1}", "group": {"name": "{1}", "domain": {"id": "d"}}},
        ],
        "remote": [{"type": "OIDC-sub"}, {"type": "HTTP_OIDC_G", "blacklist": ["^a"], "regex": True}],
    }
]


def addresses(data: bytes) -> None:
    """Addresses of the web, and of networks."""
    text = data.decode("utf-8", "replace")
    with REFUSED:
        found = source(text, [])
        assert found.scheme in ("http", "https") and found.port in (80, 443) and found.host
        assert not any(ord(letter) <= 32 for letter in found.host + found.target)
        with contextlib.suppress(ValueError):
            assert public(found.host) in (True, False)
    for parse in (
        validators.address,
        validators.address_or_cidr,
        validators.mac,
        validators.remote_prefix,
        validators.dns_domain,
        validators.tag,
    ):
        with contextlib.suppress(validators.InvalidValue, PileusError):
            parsed = parse(text)
            assert parse is validators.tag or not {"\n", "%"} & set(str(parsed))
            if parse is validators.address:
                ip_address(parsed)


def patterns(data: bytes) -> None:
    """Regular expressions and path patterns of users; placement's queries."""
    pattern, _, text = data.decode("utf-8", "replace").partition("\n")
    with REFUSED:
        Pattern(pattern).found_in(text[:200])
    access_rules.matches(pattern[:200], text[:200])
    with REFUSED:
        assert all(isinstance(amount, int) for amount in queries.resources(pattern).values())
    for version in ((1, 0), (1, 17), (1, 39)):
        with REFUSED:
            queries.traits([pattern], version)
        with REFUSED:
            queries.member_of([pattern], version)


def command_line(data: bytes) -> None:
    """Names and machine types of tenants on QEMU's command line: as many words, and no option more."""
    name, _, machine = data.decode("utf-8", "replace").replace("\0", "").partition("\n")
    guest = Guest(id="g", name=name, project_id="p", user_id="u", generation=1, vcpus=1, memory_mib=64, machine=machine or None)
    plain = msgspec.structs.replace(guest, name="x", machine=None)
    launch = Launch(accelerator="tcg", qmp_fd=3, serial_fd=4)
    with REFUSED:
        made, kind = qemu_argv(guest, launch), "q35" if is_q35(machine or "q35") else "pc"
        expected = qemu_argv(msgspec.structs.replace(plain, machine=kind), launch)
        assert [word for word in made if word.startswith("-")] == [word for word in expected if word.startswith("-")]
        assert len(made) == len(expected)


class _Never:
    """No database: inspecting a token needs none."""


TOKENS = FernetTokens(Path(FOUND) / "keys", _Never())  # type: ignore[arg-type]
IMAGES = [data[:200_000] + bytes((1, 0, FORMATS.index(said))) for data, said, _ in [*GOOD.values(), *BAD.values()] if said in FORMATS]
MESSAGE = encoding.encode(msgspec.msgpack.decode(msgspec.msgpack.encode({"type": "ProbeHost"})))
Target = Callable[[bytes], None]


def archives_of_images(data: bytes) -> None:
    """What an import unpacks and looks into: of a few KiB no more comes than is asked for, and nothing lies outside the directory."""
    taken = Numbers(data)
    container, kind = ("ova", "docker", "compressed", "bare")[taken.number(4)], ("raw", "qcow2")[taken.number(2)]
    path = Path(FOUND) / "archive"
    path.write_bytes(taken.data)
    image = Image(id="i", created_at=0.0, updated_at=0.0, owner="p", disk_format=kind, container_format=container)
    try:
        with REFUSED:
            made = unpacking.prepared(unpacking.Taken(path, None, look_through(path), {}), image, None, 1 << 26)
            if container == "docker":
                made = containers.inspected(made, image)
            assert made.digest and made.digest.size <= 1 << 26 and made.path.parent == path.parent
            assert all(len(value) <= 1 << 16 for value in made.changes.get("properties", {}).values())
    finally:
        unpacking.remove(path)


def proxmox_backups(data: bytes) -> None:
    """Backups that someone brings in: no piece lies outside its device."""
    file = io.BytesIO(data)
    with REFUSED:
        header = vma.header(file.read)
        vma.drives(vma.settings(header.configs), header)
        for number, offset, part in vma.pieces(file.read, header):
            assert offset + len(part) <= header.devices[number].size


TARGETS: dict[str, tuple[Target, list[bytes]]] = {
    "image_inspection": (image_inspection, IMAGES),
    "disk_headers": (
        disk_headers,
        [empty_qcow2(1 << 20, "/etc/shadow")[:4096], empty_qcow2(1 << 30)[:4096], *(one[:4096] for one in IMAGES)],
    ),
    "config_drive": (
        config_drive,
        [b"openstack/latest/meta_data.json={}\nec2/latest/user-data=x\na/b/c=1", b"a=1\na/b=2", b"../x=1", b"a=\na=2"],
    ),
    "metadata_request": (
        metadata_request,
        [
            b"GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HEAD /openstack HTTP/1.0\r\n\r\n",
            b"PUT / HTTP/1.1\r\n\r\n",
            b"GET //latest/./user-data?x HTTP/1.1\r\n\r\n",
        ],
    ),
    "user_data": (user_data, [base64.b64encode(b"#cloud-config\nusers: []\n"), b"IyE=", b"====", b"#!/bin/sh", "ü".encode()]),
    "settings": (
        settings,
        [
            b"{}",
            b'{"listen": "127.0.0.1:5000", "database": "postgresql://a:b@c/d"}',
            b'{"simulate": -1}',
            b'{"public_cidr": "x"}',
            b'{"fencing": {"*": "command:/bin/true"}, "import_hosts": ["a:80"]}',
        ],
    ),
    "bus_messages": (
        bus_messages,
        [
            MESSAGE,
            b"\1" + b"x\x9c",
            encoding.encode({"host": "h", "reported_at": 1.0}),
            b"\0" + b"\x91" * 2000,
            b"\0\x81\xa4type\xa9\x80robeHost",
        ],
    ),
    "archives_of_images": (archives_of_images, IMAGE_ARCHIVES),
    "proxmox_backups": (proxmox_backups, [vma_archive({"qemu-server.conf": b"name: x\nboot: order=scsi0"}, {"drive-scsi0": b"x" * 70000})]),
    "image_patch": (
        image_patch,
        [
            b'[{"op": "replace", "path": "/name", "value": "x"}]',
            b'[{"replace": "/a~1b", "value": {}}]',
            b'[{"op": "add", "path": "/locations/-", "value": {}}, {"op": "remove", "path": "/a"}]',
        ],
    ),
    "public_keys": (
        public_keys,
        [
            b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJlXyrlHMOvMRkKp4CHgCvVAyUDCuQAoNOXBMM0ekJjB x",
            b"ssh-rsa AAAA",
            b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----",
            nkeys.public_key(nkeys.new_seed("user")).encode(),
        ],
    ),
    "tokens": (tokens, [b"gAAAAABn", b"\x8a\xa4form\x01\xa4user", base64.urlsafe_b64encode(b"\x80" + bytes(80))]),
    "openid_words": (
        openid_words,
        [
            b'{"sub":"u","g":["a","JSON:{}"],"iss":"https://idp.example"}',
            b"eyJhbGciOiJSUzI1NiJ9.e30.x",
            b"a=b; c=d",
            b'{"issuer":"https://idp.example","jwks_uri":"https://x/"}',
            b"HTTPS://Dashboard.example/sso",
            b'{"sub":"{0}","g":"[{\\"name\\":1}]"}',
        ],
    ),
    "addresses": (
        addresses,
        [
            b"http://example.org/image?x=1",
            b"https://[::1]:443/",
            b"10.0.0.0/24",
            b"fa:16:3e:00:00:01",
            b"fe80::1%eth0",
            b"a.example.org.",
        ],
    ),
    "patterns": (
        patterns,
        [
            b"(a+)+$\naaaaaaaa",
            b"^[a-z]{1,3}|b?\\d*\nabc1",
            b"/v2.1/servers/*/{id}/**\n/v2.1/servers/x",
            b"VCPU:1,MEMORY_MB:2\n",
            b"in:HW_A,HW_B\n!CUSTOM_X",
        ],
    ),
    "command_line": (command_line, [b"web-1\npc-q35-8.2", b"web-1\npc-i440fx-7.2", b"a,b=c\nq35,accel=kvm", b"-daemonize\n-s"]),
}
