"""A cloud whose images are encrypted: its first server boots, a snapshot of it does, and no file of the store holds what is in them."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.core.encrypted_content import MAGIC
from tests.real.real_cloud import RealCloud, until

MARKER = "planted-in-the-guest-and-nowhere-else-"


@pytest.fixture(params=[(), ("--hosts", "2")], ids=["one machine", "hosts"])
def cloud(request: pytest.FixtureRequest) -> Iterator[RealCloud]:
    """A cloud of its own, with the setting, and its demo server `hello`."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and guests' user ids")
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("needs qemu-system-x86_64; `sudo ./pileus up` installs it")
    folder = Path(tempfile.mkdtemp(prefix="pileus-real-"))
    folder.chmod(0o755)
    real = RealCloud(folder / "state")
    real.state.mkdir()
    (real.state / "config.json").write_text(json.dumps({"image": {"stores": {"local": {"encrypted": True}}}}))
    try:
        real.up(*request.param)
        yield real
    finally:
        real.pileus("down", "--destroy", "--yes")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_server_boots_from_an_encrypted_image_and_its_snapshot_is_encrypted(cloud: RealCloud) -> None:
    demo = cloud.connect("pileus")
    images = cloud.state / "images"
    image = demo.image.find_image("pileus-guest")
    hello = demo.compute.find_server("hello")
    address = until(lambda: next((one["addr"] for net in demo.compute.get_server(hello.id).addresses.values() for one in net
                                  if one["OS-EXT-IPS:type"] == "floating"), None), 60, "a floating address")  # fmt: skip
    assert cloud.ssh(address, "hostname", timeout=120) == "hello"

    [stored] = [one for one in images.iterdir() if len(one.name) == 64]
    [base] = [one for one in cloud.state.rglob(stored.name) if one.parent.name == "base"]
    plain = base.read_bytes()
    assert stored.read_bytes().startswith(MAGIC) and plain[:4] == b"QFI\xfb"
    assert hashlib.sha256(plain).hexdigest() == stored.name, "the host has the plain content"
    assert [one for one in cloud.state.rglob("*") if one.parent.name == "fetched"] == []
    assert b"".join(demo.image.download_image(image.id, stream=True).iter_content(1 << 20)) == plain

    cloud.ssh(address, f"echo {MARKER}'42' > marker && sync")
    snapshot = demo.compute.create_server_image(hello.id, "copy", wait=True, timeout=120)
    taken = b"".join(demo.image.download_image(snapshot.id, stream=True).iter_content(1 << 20))
    assert f"{MARKER}42".encode() in taken
    holding = [path for path in images.rglob("*") if path.is_file() and f"{MARKER}42".encode() in path.read_bytes()]
    assert holding == []
    cloud.verify()
