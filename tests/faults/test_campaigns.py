"""Campaigns against whole clouds: real processes, real guests, real daemons are killed at random while customers work.

`./pileus test faults --seed N --kills K` replays one, or makes it longer: PILEUS_SEED and PILEUS_KILLS. `--minutes M` ends it then.
"""

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.cli.local_cluster import LocalCluster
from pileus.cli.separation.child import pid_of_other
from pileus.cli.serve import read_pid
from pileus.cli.settings import load
from tests.faults.campaign import Campaign, Kill, guests, kill
from tests.real.conftest import devices
from tests.real.real_cloud import RealCloud, until

SEED = os.environ.get("PILEUS_SEED", "1")
HOSTS = 3


@pytest.fixture
def cloud() -> Iterator[RealCloud]:
    folder = Path(tempfile.mkdtemp(prefix="pileus-campaign-"))
    folder.chmod(0o755)  # guests, and PostgreSQL, run as users of their own
    made = RealCloud(folder / "state")
    tag = ""
    try:
        yield made
        tag = load(made.state).tag
    finally:
        made.pileus("down", "--destroy", "--yes", check=False)
        shutil.rmtree(folder, ignore_errors=True)
    assert devices(tag) == set(), "the destroyed cloud left something behind"


def needs(*tools: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and guests' user ids")
    for tool in tools:
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip(f"needs {tool}; `sudo ./pileus up --hosts 3` installs it")


def control_plane(cloud: RealCloud) -> Kill:
    return lambda dice: kill(cloud.pid())


def requests_parser(cloud: RealCloud) -> Kill:
    """The process without privileges; the node part ends with it."""

    def strike(dice: random.Random) -> str | None:
        node, found = cloud.pid(), kill(pid_of_other(cloud.state))
        until(lambda: read_pid(cloud.state) is None, 30, f"the end of {node}")
        return found

    return strike


def a_guest(cloud: RealCloud, campaign: Campaign) -> Kill:
    def strike(dice: random.Random) -> str | None:
        found = sorted(guests(cloud.state).items())
        if not found:
            return None
        pid, server = dice.choice(found)
        campaign.ledger.wounded.add(server)
        return kill(pid)

    return strike


def a_dnsmasq(cloud: RealCloud) -> Kill:
    def strike(dice: random.Random) -> str | None:
        with contextlib.suppress(OSError, ValueError):  # one of them ends at this moment
            files = [*cloud.state.glob("node/domains/*/dnsmasq/*/pid"), *cloud.state.glob("hosts/*/node/domains/*/dnsmasq/*/pid")]
            found = [int(file.read_text()) for file in sorted(files)]
            alive = [pid for pid in found if "dnsmasq" in Path(f"/proc/{pid}/comm").read_text()]
            return kill(dice.choice(alive)) if alive else None
        return None

    return strike


def many(kills: int) -> int:
    return int(os.environ.get("PILEUS_KILLS", kills))


def test_a_cloud_of_simulated_hosts_survives(cloud: RealCloud) -> None:
    options = ["--simulate", "3"]
    cloud.up(*options, "--no-demo")
    campaign = Campaign(cloud, options, moves=True)
    print(campaign.run(SEED, many(8), {"control plane": control_plane(cloud)}))


def test_a_cloud_with_real_guests_survives(cloud: RealCloud) -> None:
    needs("qemu-system-x86_64", "nft", "dnsmasq")
    cloud.up("--no-demo")
    campaign = Campaign(cloud, [])
    victims = {
        "control plane": control_plane(cloud),
        "API": requests_parser(cloud),
        "guest": a_guest(cloud, campaign),
        "dnsmasq": a_dnsmasq(cloud),
    }
    print(campaign.run(SEED, many(8), victims))


def test_a_cloud_of_three_hosts_survives(cloud: RealCloud) -> None:
    needs("qemu-system-x86_64", "nft", "dnsmasq", "nats-server")
    options = ["--hosts", str(HOSTS)]
    cloud.up(*options, "--no-demo")
    campaign = Campaign(cloud, options, moves=True)
    fabric = LocalCluster(load(cloud.state))

    def an_agent(dice: random.Random) -> str | None:
        return kill(int((fabric.directory(f"h{dice.randint(1, HOSTS)}") / "pid").read_text()))

    victims = {
        "managers": control_plane(cloud),
        "agent": an_agent,
        "guest": a_guest(cloud, campaign),
        "dnsmasq": a_dnsmasq(cloud),
        "bus": lambda dice: kill(fabric.nats.pid()),
        "database": lambda dice: kill(fabric.postgresql.pid()),
    }
    print(campaign.run(SEED, many(8), victims))
