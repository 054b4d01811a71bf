"""Archives of container images are kept as they are, when every file in them is what its name and the manifests say."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import create, files, show, upload
from tests.api.image.test_unpacking import imported

Files = dict[str, bytes]
LAYER = b"a layer" * 3000
CONFIG = json.dumps(
    {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(LAYER).hexdigest()}"]},
    }
).encode()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(data), "size": len(data), **more}


def blob(data: bytes) -> tuple[str, bytes]:
    return "blobs/" + digest(data).replace(":", "/"), data


def layout(*others: dict[str, Any]) -> Files:
    """An OCI image layout with one image, which lies below an index as builders make it."""
    packed = gzip.compress(LAYER, mtime=0)
    manifest = json.dumps({"schemaVersion": 2, "config": descriptor(CONFIG), "layers": [descriptor(packed)]}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [descriptor(manifest), *others]}).encode()
    named = {"org.opencontainers.image.ref.name": "web:1.2"}
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [descriptor(index, annotations=named)]}).encode(),
        **dict([blob(index), blob(manifest), blob(CONFIG), blob(packed)]),
    }


def saved() -> Files:
    """What `docker save` wrote before it wrote layouts."""
    name = hashlib.sha256(CONFIG).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": ["web:1.2"], "Layers": ["abc/layer.tar"]}]
    return {"abc/layer.tar": LAYER, name: CONFIG, "manifest.json": json.dumps(manifest).encode()}


def archive(content: Files, *members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in members:
            tar.addfile(info)
    return out.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def told(image: dict[str, Any]) -> dict[str, Any]:
    return {name: image.get(name) for name in ("architecture", "os_type", "oci_platforms", "oci_reference")}


def refused(cloud: TestCloud, data: bytes) -> Answer:
    image = create(cloud, container_format="docker")
    answer = upload(cloud, image, data)
    assert answer.status == 400 and show(cloud, image)["status"] == "queued" and files(cloud) == []
    return answer


@pytest.mark.parametrize("made", [layout, saved])
def test_an_archive_is_kept_as_it_is_and_says_what_it_is_for(made: Callable[[], Files], cloud: TestCloud) -> None:
    data = archive(made())
    image = create(cloud, container_format="docker")
    answer = upload(cloud, image, data)
    assert answer.status == 204, answer
    image = show(cloud, image)
    expected = {"architecture": "aarch64", "os_type": "linux", "oci_platforms": "linux/arm64/v8", "oci_reference": "web:1.2"}
    assert told(image) == expected and image["oci_digest"].startswith("sha256:")
    assert (image["container_format"], image["disk_format"]) == ("docker", "raw")
    assert image["os_hash_value"] == hashlib.sha512(data).hexdigest()


def test_of_several_platforms_one_may_be_there(cloud: TestCloud) -> None:
    image = create(cloud, container_format="docker", architecture="mine")
    assert upload(cloud, image, archive(layout(descriptor(b"elsewhere")))).status == 204
    assert show(cloud, image)["oci_platforms"] == "linux/arm64/v8"
    assert show(cloud, image)["architecture"] == "mine"


def test_an_import_unpacks_the_archive_and_looks_into_it(cloud: TestCloud) -> None:
    data = archive(layout())
    image, answer = imported(cloud, gzip.compress(data), container_format="docker")
    assert answer.status == 202, answer
    assert image["os_hash_value"] == hashlib.sha512(data).hexdigest() and image["architecture"] == "aarch64"
    image, answer = imported(cloud, gzip.compress(archive({"etc/passwd": b"root"})), container_format="docker")
    assert answer.status == 400 and image["status"] == "queued" and len(files(cloud)) == 1


def test_a_layer_may_be_linked_to_another_images(cloud: TestCloud) -> None:
    content = saved()
    content["xyz/layer.tar"] = content.pop("abc/layer.tar")
    image = create(cloud, container_format="docker")
    assert upload(cloud, image, archive(content, link("abc/layer.tar", "../xyz/layer.tar"))).status == 204


def without(content: Files, part: bytes) -> Files:
    return {name: data for name, data in content.items() if data != part}


def damaged(content: Files, part: bytes) -> Files:
    return {name: data.replace(b"a", b"b") if data == part else data for name, data in content.items()}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"etc/passwd": b"root"}, "neither an OCI image layout"),
        (layout() | {"oci-layout": b'{"imageLayoutVersion": "9"}'}, "version that is not known"),
        (layout() | {"index.json": b"[" * 100000}, "be read"),
        (without(layout(), CONFIG), "is missing"),
        (damaged(layout(), CONFIG), "another hash than its name says"),
        (layout() | {"index.json": json.dumps({"manifests": [{"digest": "sha256:../../x", "size": 1}]}).encode()}, "no digest"),
        (without(saved(), LAYER), "is missing"),
        (damaged(saved(), LAYER), "the layer abc/layer.tar has another hash"),
        (damaged(saved(), CONFIG), "another hash than its name says"),
        (saved() | {"../../etc/passwd": b"root"}, "leads out of it"),
        (saved() | {"/etc/passwd": b"root"}, "leads out of it"),
        (saved() | {"manifest.json": json.dumps([{"Config": "../x", "Layers": []}]).encode()}, "leads out of it"),
    ],
)
def test_what_is_not_whole_or_not_sound_is_refused(content: Files, reason: str, cloud: TestCloud) -> None:
    assert reason in refused(cloud, archive(content)).body.decode()


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (link("abc/layer.tar", "../../etc/passwd"), "leads out of it"),
        (link("abc/layer.tar", "/etc/passwd"), "leads out of it"),
        (link("abc/layer.tar", "abc/layer.tar"), "is missing"),
        (link("more", "abc/layer.tar", tarfile.LNKTYPE), "neither a file nor a directory"),
        (link("more", "", tarfile.CHRTYPE), "neither a file nor a directory"),
    ],
)
def test_links_and_devices_lead_nowhere(member: tarfile.TarInfo, reason: str, cloud: TestCloud) -> None:
    assert reason in refused(cloud, archive(without(saved(), LAYER), member)).body.decode()
