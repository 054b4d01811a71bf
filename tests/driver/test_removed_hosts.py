"""A host that was removed: a real NATS server throws it out when its configuration is renewed, and lets nobody else go."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.bus import nkeys
from pileus.bus.authority import BusAuthority, new_authority
from pileus.bus.connection import BusCredentials, Connection
from pileus.cli.daemons import Nats
from pileus.cli.separation.ownership import bus_user_of
from pileus.config import Config
from tests.driver.test_nats_bus import until
from tests.driver.test_separation import of_status, state

__all__ = ["state"]


class Bus:
    """A NATS server with TLS, and who may speak on it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{one.getsockname()[1]}"
        self.authority: BusAuthority = new_authority()
        self.nats = Nats(folder, self.listen)

    def host(self, name: str, seed: str) -> BusCredentials:
        claims = self.authority.admit(name, nkeys.public_key(seed))
        trusted = self.authority.ca_certificate
        return BusCredentials(url=f"tls://{self.listen}", cloud=self.authority.cloud, claims=claims, seed=seed, authority=trusted)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    one = Bus(tmp_path)
    one.nats.start(one.authority, {})
    yield one
    one.nats.stop()


def test_a_removed_host_is_thrown_out_at_once_and_others_stay(bus: Bus) -> None:
    removed, kept = nkeys.new_seed("user"), nkeys.new_seed("user")

    async def run() -> None:
        bad, good = Connection(bus.host("bad", removed), "bad"), Connection(bus.host("good", kept), "good")
        manager = Connection(bus.authority.manager(f"tls://{bus.listen}", "manager"), "manager")
        lost: list[str] = []
        for one in (bad, good, manager):
            one.changed = lambda connected, name=one.name: lost.append(name) if not connected else None  # type: ignore[misc]
            await one.open()
            assert one.connected, one.problem
        began = int(time.time())
        await until(lambda: int(time.time()) > began)  # a second later the same configuration must still be one that a reload takes
        bus.nats.configure(bus.authority, {nkeys.public_key(removed): int(time.time())})
        await until(lambda: not bad.connected and "uthorization" in bad.problem)
        assert good.connected and manager.connected and set(lost) == {"bad"}
        anew = Connection(bus.host("good", kept), "again")  # nobody else is kept out
        await anew.open()
        assert anew.connected
        for one in (bad, good, manager, anew):
            await one.close()

    asyncio.run(run())


def test_what_was_revoked_stays_so_when_the_server_starts_again_and_a_new_admission_holds(bus: Bus) -> None:
    seed = nkeys.new_seed("user")
    old = bus.host("one", seed)
    void = {nkeys.public_key(seed): int(time.time())}
    bus.nats.stop()
    bus.nats.start(bus.authority, void)

    async def run() -> None:
        refused = Connection(old, "one")
        await refused.open(patience=2.0)
        assert not refused.connected and "uthorization" in refused.problem
        await refused.close()
        fresh = Connection(bus.host("one", nkeys.new_seed("user")), "one")
        await fresh.open()
        assert fresh.connected
        await fresh.close()

    asyncio.run(run())


def test_a_printed_configuration_and_certificate_serve_a_cloud(bus: Bus, tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "pileus.cli.main", "--state", str(state), "bus"]
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    certificate, key = tmp_path / "bus.pem", tmp_path / "bus.key"
    files = ["--certificate", str(certificate), "--key", str(key)]
    subprocess.run([*command, "certificate", "127.0.0.1", "bus.example", *files], check=True, timeout=60)
    assert key.stat().st_mode & 0o777 == 0o600
    shown = subprocess.run(
        [*command, "config", "--listen", f"127.0.0.1:{port}", *files], check=True, timeout=60, capture_output=True, text=True
    )
    (tmp_path / "nats.conf").write_text(shown.stdout)
    bus.authority = BusAuthority(**json.loads((state / "secrets" / "bus.json").read_text()))
    bus.listen = f"127.0.0.1:{port}"
    server = subprocess.Popen(["nats-server", "-c", str(tmp_path / "nats.conf")], stderr=subprocess.DEVNULL)

    async def run() -> None:
        host = Connection(bus.host("one", nkeys.new_seed("user")), "one")
        await host.open()
        assert host.connected, host.problem
        await host.close()

    try:
        asyncio.run(run())
    finally:
        server.terminate()
        server.wait(10)


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pileus.cli.main", "--state", str(tmp_path / "s"), "bus", "config", "--listen", "127.0.0.1:4222"]
    done = subprocess.run([*command, "--certificate", "x"], timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "together" in done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a process that gives it up")
def test_a_server_of_the_clouds_own_has_no_rights_but_to_its_own_files_and_takes_a_new_configuration(state: Path) -> None:
    bus = Bus(state)
    bus.nats.user = bus_user_of(Config(state=str(state)))
    (state / "nats").mkdir(mode=0o700)
    (state / "nats" / "nats.log").touch(mode=0o600)  # as an older version has left them
    bus.nats.start(bus.authority, {})
    try:
        pid = bus.nats.pid()
        assert pid is not None
        status = of_status(pid)
        assert status["Uid"].split() == status["Gid"].split() == [str(bus.nats.user)] * 4
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (status["Groups"], status["NoNewPrivs"]) == ("", "1")
        assert {one.name: one.stat().st_mode & 0o077 for one in (state / "nats").iterdir() if one.stat().st_uid == 0} == {
            "nats.conf": 0o040, "key.pem": 0o040, "certificate.pem": 0o040, "pid": 0o044,
        }  # fmt: skip
        removed = nkeys.new_seed("user")

        async def run() -> None:
            connection = Connection(bus.host("bad", removed), "bad")
            await connection.open()
            assert connection.connected, connection.problem
            began = int(time.time())
            await until(lambda: int(time.time()) > began)
            bus.nats.configure(bus.authority, {nkeys.public_key(removed): int(time.time())})
            await until(lambda: not connection.connected and "uthorization" in connection.problem)
            await connection.close()

        asyncio.run(run())
    finally:
        bus.nats.stop()
