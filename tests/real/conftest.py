"""One real cloud for the layer: made by `pileus up`, destroyed by `pileus down --destroy`, and nothing may be left."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.config import Config
from tests.real.real_cloud import RealCloud


def devices(tag: str) -> set[str]:
    """Names on this machine that carry the cloud's tag: links, namespaces, nft tables, cgroups."""
    commands = (["ip", "-o", "link"], ["ip", "netns"], ["nft", "list", "tables"])
    text = "\n".join(subprocess.run(one, capture_output=True, text=True).stdout for one in commands)
    cgroups = {str(path) for path in Path("/sys/fs/cgroup").glob(f"**/pileus-{tag}*")}
    return {word for word in text.replace("@", " ").replace(":", " ").split() if tag in word and word.startswith("p")} | cgroups


@pytest.fixture(scope="session")
def cloud() -> Iterator[RealCloud]:
    """The cloud with its demo server `hello`."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and guests' user ids")
    for tool in ("qemu-system-x86_64", "nft", "dnsmasq"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip(f"needs {tool}; `sudo ./pileus up` installs it")
    folder = Path(tempfile.mkdtemp(prefix="pileus-real-"))  # not below pytest's own, which another pytest closes to other users
    folder.chmod(0o755)  # guests run as users of their own and must reach their disks
    real = RealCloud(folder / "state")
    try:
        real.first_output = real.up()  # type: ignore[attr-defined]
        yield real
    finally:
        real.pileus("down", "--destroy", "--yes")
        shutil.rmtree(folder, ignore_errors=True)
    tag = Config(state=str(real.state)).tag
    assert devices(tag) == set(), "the destroyed cloud left something behind"
    assert not real.state.exists()


@pytest.fixture(scope="session")
def demo(cloud: RealCloud) -> Any:
    """openstacksdk as the user demo."""
    return cloud.connect("pileus")


@pytest.fixture(scope="session")
def admin(cloud: RealCloud) -> Any:
    """openstacksdk as the admin."""
    return cloud.connect("pileus-admin")


@pytest.fixture
def hello(demo: Any) -> Any:
    """The demo's server, running."""
    server = demo.compute.get_server(demo.compute.find_server("hello").id)
    if server.status != "ACTIVE":
        demo.compute.start_server(server)
        server = demo.compute.wait_for_server(server, wait=60)
    return server


@pytest.fixture
def address(hello: Any) -> str:
    """hello's floating IP."""
    return next(one["addr"] for one in hello.addresses["private"] if one["OS-EXT-IPS:type"] == "floating")
