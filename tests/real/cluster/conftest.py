"""One cluster for the tests here: made by one command, destroyed by one, and nothing may be left."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.cli.settings import load
from tests.real.cluster.host_cluster import HOSTS, Cluster
from tests.real.conftest import devices


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and guests' user ids")
    for tool in ("qemu-system-x86_64", "nft", "dnsmasq", "nats-server"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip(f"needs {tool}; `sudo ./pileus up --hosts 3` installs it")
    folder = Path(tempfile.mkdtemp(prefix="pileus-cluster-"))  # not below pytest's own, which another pytest closes to other users
    folder.chmod(0o755)  # guests, and PostgreSQL, run as users of their own
    real = Cluster(folder / "state")
    try:
        real.up("--hosts", str(HOSTS))
        tag = load(real.state).tag
        yield real
    finally:
        real.pileus("down", "--destroy", "--yes")
        shutil.rmtree(folder, ignore_errors=True)
    assert devices(tag) == set(), "the destroyed cluster left something behind"
    assert not real.state.exists()
