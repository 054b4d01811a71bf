"""Two clouds on one machine share nothing: each with its demo server, one goes and the other does not notice."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.config import Config
from tests.real.conftest import devices
from tests.real.real_cloud import RealCloud


def shown(cloud: RealCloud) -> dict[str, Any]:
    return json.loads(cloud.pileus("status", "--json").stdout)


def settings(cloud: RealCloud) -> dict[str, Any]:
    return json.loads((cloud.state / "config.json").read_text())


def floating(cloud: RealCloud) -> str:
    hello = next(one for one in shown(cloud)["servers"] if one["name"] == "hello")
    return next(address for address in hello["addresses"] if not address.startswith("10."))


@pytest.fixture(scope="module")
def second(cloud: RealCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCloud]:
    """A cloud beside the layer's, with a demo server of its own."""
    folder = tmp_path_factory.mktemp("second")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    beside = RealCloud(folder / "state")
    try:
        beside.up()
        yield beside
    finally:
        if beside.state.exists():
            beside.pileus("down", "--destroy", "--yes")


def knocks(key: Path, address: str) -> "subprocess.CompletedProcess[str]":
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
    return subprocess.run(["ssh", "-i", str(key), *options, f"pileus@{address}", "hostname"], capture_output=True, text=True, timeout=60)


def test_each_has_networks_addresses_devices_and_credentials_of_its_own(cloud: RealCloud, second: RealCloud, address: str) -> None:
    assert settings(cloud)["public_cidr"] != settings(second)["public_cidr"]
    assert floating(second) != address
    assert not devices(Config(state=str(cloud.state)).tag) & devices(Config(state=str(second.state)).tag)
    assert {one["id"] for one in shown(cloud)["servers"]}.isdisjoint(one["id"] for one in shown(second)["servers"])
    assert (cloud.state / "clouds.yaml").read_text() != (second.state / "clouds.yaml").read_text()
    assert second.ssh(floating(second), "hostname") == "hello"


def test_ones_key_does_not_open_the_others_server(cloud: RealCloud, second: RealCloud, address: str) -> None:
    assert knocks(cloud.state / "demo_ed25519", address).stdout.strip() == "hello"
    stranger = knocks(second.state / "demo_ed25519", address)
    assert stranger.returncode == 255
    assert "Permission denied" in stranger.stderr


def test_a_port_that_the_other_has_is_refused_and_nothing_is_made(cloud: RealCloud, tmp_path: Path) -> None:
    third = RealCloud(tmp_path / "state")
    third.listen = cloud.listen
    refused = third.pileus("up", "--detach", "--listen", cloud.listen, check=False)
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith(
        f"Can't listen on {cloud.listen}: Address already in use. Choose another address with --listen HOST:PORT."
    )
    assert not third.state.exists()


def test_one_goes_and_the_other_does_not_notice(cloud: RealCloud, second: RealCloud, address: str) -> None:
    tag = Config(state=str(second.state)).tag
    before = cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id")
    second.pileus("down", "--destroy", "--yes")
    assert devices(tag) == set()
    assert not second.state.exists()
    assert cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id") == before
    cloud.verify()
