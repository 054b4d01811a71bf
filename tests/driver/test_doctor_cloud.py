"""What `pileus doctor` says of the rest of a cloud: of a bus that refuses us, is not there, or is another's; of clocks and versions."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

import pileus
from pileus.bus import nkeys
from pileus.bus.authority import new_authority
from pileus.cli.doctor_cloud import examine_cloud
from pileus.cli.node_process import FILE, Membership
from pileus.cli.settings import keep
from pileus.config import Config
from pileus.model.hosts import Capability
from pileus.store import schema
from pileus.store.open import open_database
from tests import postgresql
from tests.driver.test_removed_hosts import Bus

SAID: dict[str, Any] = {}


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(SAID | {"time": time.time() + SAID["wrong"]}).encode())

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def api() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    SAID.update(version=pileus.__version__, wrong=0.0)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    one = Bus(tmp_path)
    one.nats.start(one.authority, {})
    yield one
    one.nats.stop()


def host(bus: Bus, tmp_path: Path, api: str, seed: str, **changes: Any) -> Path:
    """The state directory of a host that has joined."""
    state = tmp_path / "host"
    (state / "secrets").mkdir(parents=True, exist_ok=True)
    credentials = msgspec.structs.replace(bus.host("h", seed), **changes)
    (state / "secrets" / FILE).write_bytes(msgspec.json.encode(Membership(host="h", cluster="default", api=api, credentials=credentials)))
    return state


def examined(state: Path) -> dict[str, Capability]:
    return {one.name: one for one in asyncio.run(examine_cloud(state))}


def test_a_host_that_is_well_says_so(bus: Bus, tmp_path: Path, api: str) -> None:
    found = examined(host(bus, tmp_path, api, nkeys.new_seed("user")))
    assert {name: one.works for name, one in found.items()} == {"message bus": True, "cloud's API": True, "clock of the cloud": True}


def test_a_wrong_clock_and_another_version_are_told(bus: Bus, tmp_path: Path, api: str) -> None:
    SAID.update(version="0.0.1", wrong=-300.0)
    found = examined(host(bus, tmp_path, api, nkeys.new_seed("user")))
    assert "0.0.1" in found["cloud's API"].detail and not found["cloud's API"].works
    assert "300." in found["clock of the cloud"].detail and "ahead" in found["clock of the cloud"].detail
    assert "chrony" in found["clock of the cloud"].remedy


def test_why_the_bus_is_not_reached_is_told_with_the_way_out(bus: Bus, tmp_path: Path, api: str) -> None:
    seed = nkeys.new_seed("user")
    port = bus.listen.rpartition(":")[2]
    wrong = examined(host(bus, tmp_path, api, seed, authority=new_authority().ca_certificate))["message bus"]
    assert not wrong.works and "pileus bus certificate" in wrong.remedy, wrong
    nameless = examined(host(bus, tmp_path, api, seed, url=f"tls://no-such-host.invalid:{port}"))["message bus"]
    assert not nameless.works and "DNS" in nameless.remedy, nameless
    misnamed = examined(host(bus, tmp_path, api, seed, url=f"tls://127.0.0.2:{port}"))["message bus"]
    assert not misnamed.works
    bus.nats.configure(bus.authority, {nkeys.public_key(seed): int(time.time())})
    removed = examined(host(bus, tmp_path, api, seed, claims=_issued_before(bus, seed)))["message bus"]
    assert not removed.works and "join again" in removed.remedy, removed
    bus.nats.stop()
    gone = examined(host(bus, tmp_path, "http://127.0.0.1:1", seed))
    assert "start nats-server" in gone["message bus"].remedy, gone
    assert not gone["cloud's API"].works


def _issued_before(bus: Bus, seed: str) -> str:
    from pileus.bus.subjects import Subjects

    permissions = Subjects(cloud=bus.authority.cloud).of_node("h")
    return nkeys.user_claims(bus.authority.account, nkeys.public_key(seed), "h", int(time.time()) - 60, permissions)


def test_a_manager_is_told_of_its_database_and_bus(bus: Bus, tmp_path: Path) -> None:
    state = tmp_path / "manager"
    (state / "secrets").mkdir(parents=True)
    (state / "secrets" / "bus.json").write_bytes(msgspec.json.encode(bus.authority))
    config = Config(state=str(state), database=postgresql.database(), bus=f"tls://{bus.listen}")
    keep(config, Config(state=str(state)))
    before = examined(state)
    assert not before["database"].works and "--role cloud" in before["database"].remedy
    assert before["message bus"].works

    async def migrate() -> None:
        db = open_database(config)
        await schema.migrate(db)
        await db.close()

    asyncio.run(migrate())
    after = examined(state)
    assert after["database"].works and after["clock of the database"].works


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"postgresql://nobody@127.0.0.1:{one.getsockname()[1]}/none"
        state = tmp_path / "manager"
        state.mkdir()
        keep(Config(state=str(state), database=url), Config(state=str(state)))
        found = examined(state)
    assert not found["database"].works


def test_a_cloud_of_one_process_has_nothing_to_ask(tmp_path: Path) -> None:
    assert examined(tmp_path) == {}
