"""The database file is damaged: nothing is answered from what can't be trusted, what to do is said, and a copy brings the cloud back."""

import json
import os
import resource
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.cli.client import Api, ApiError
from pileus.cli.settings import load
from pileus.model.errors import Unavailable
from tests.real.real_cloud import RealCloud, until

OPTIONS = ["--simulate", "2", "--no-demo"]
NETWORKS = "/network/v2.0/networks"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[RealCloud]:
    made = RealCloud(tmp_path / "state")
    made.up(*OPTIONS)
    yield made
    made.pileus("down", "--destroy", "--yes", check=False)


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    connection = sqlite3.connect(path)
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(os.urandom(size))


def named(cloud: RealCloud, name: str) -> None:
    Api(load(cloud.state)).post(NETWORKS, {"network": {"name": name}})


def names(cloud: RealCloud) -> set[str]:
    return {one["name"] for one in Api(load(cloud.state)).get(NETWORKS)["networks"]}


def test_a_damaged_database_is_refused_at_the_start_and_a_copy_brings_it_back(cloud: RealCloud) -> None:
    named(cloud, "before")
    copy = cloud.pileus("db", "backup").stdout.strip()
    assert Path(copy).stat().st_mode & 0o077 == 0
    named(cloud, "after")
    assert "✓" in cloud.pileus("db", "check").stdout
    refused = cloud.pileus("db", "restore", "--yes", check=False)
    assert refused.returncode == 1 and "running already" in refused.stderr
    cloud.pileus("down")
    damage(cloud.state / "pileus.db", "networks")

    refused = cloud.pileus("up", "--detach", "--listen", cloud.listen, *OPTIONS, check=False)
    assert refused.returncode == 1 and "is damaged" in refused.stderr and copy in refused.stderr, refused.stderr
    told = cloud.pileus("db", "check", "--json", check=False)
    assert told.returncode == 1 and json.loads(told.stdout)["problems"] and json.loads(told.stdout)["copies"] == [copy]
    looked = cloud.pileus("verify", check=False)
    assert looked.returncode == 1 and "is damaged" in looked.stderr

    restored = cloud.pileus("db", "restore", "--yes").stdout
    assert "pileus.db.replaced-" in restored
    cloud.up(*OPTIONS)
    assert names(cloud) >= {"public", "before"} and "after" not in names(cloud)
    cloud.verify()


def test_what_was_uploaded_since_the_copy_is_kept_beside_the_images(cloud: RealCloud, tmp_path: Path) -> None:
    def upload(name: str) -> None:
        api = Api(load(cloud.state))
        image = api.post("/image/v2/images", {"name": name, "disk_format": "raw", "container_format": "bare"})["id"]
        (tmp_path / name).write_bytes(name.encode() * 512)
        api.upload(f"/image/v2/images/{image}/file", tmp_path / name, lambda part: None)

    upload("before")
    cloud.pileus("db", "backup")
    upload("since")
    cloud.pileus("down")
    told = cloud.pileus("db", "restore", "--yes").stdout
    (kept,) = next(cloud.state.glob("images.replaced-*")).iterdir()
    assert str(kept.parent) in told and kept.read_bytes() == (tmp_path / "since").read_bytes()
    cloud.up(*OPTIONS)
    images = Api(load(cloud.state)).get("/image/v2/images")["images"]
    assert {one["name"]: one["status"] for one in images} == {"before": "active", "pileus-guest": "active"}
    cloud.verify()


def test_what_is_damaged_while_it_is_used_is_not_answered_from(cloud: RealCloud) -> None:
    named(cloud, "one")
    api = Api(load(cloud.state))
    network = next(one["id"] for one in api.get(NETWORKS)["networks"] if one["name"] == "one")
    damage(cloud.state / "pileus.db", "subnets")

    def refused() -> str:
        try:
            for number in range(50):  # until what is in memory of the file has gone
                api.post("/network/v2.0/subnets", {"subnet": {"network_id": network, "cidr": f"10.{number}.0.0/24", "ip_version": 4}})
        except ApiError as error:
            assert error.data["status"] == 503, error
            return error.message
        return ""

    assert "its operator is to look at it" in until(refused, 60, "a refusal")
    assert "Traceback" not in cloud.log()
    assert "pileus db check" in cloud.log()


def test_a_copy_that_is_damaged_or_is_none_is_not_restored(cloud: RealCloud, tmp_path: Path) -> None:
    cloud.pileus("down")
    whole = (cloud.state / "pileus.db").read_bytes()
    (tmp_path / "half.db").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.db").write_text("no database at all")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE a (b)").connection.close()
    for name in ("half.db", "text.db", "other.db", "missing.db"):
        refused = cloud.pileus("db", "restore", str(tmp_path / name), "--yes", check=False)
        assert refused.returncode == 1 and "Traceback" not in refused.stderr, refused.stderr
    assert (cloud.state / "pileus.db").read_bytes() == whole
    cloud.up(*OPTIONS)
    cloud.verify()


def test_old_copies_go_and_a_copy_of_what_is_damaged_is_not_made(cloud: RealCloud) -> None:
    for number in range(9):
        copy = Path(cloud.pileus("db", "backup").stdout.strip())
        copy.rename(copy.with_name(f"pileus-2020010{number}T000000Z.db"))
    newest = cloud.pileus("db", "backup").stdout.strip()
    kept = sorted(one.name for one in (cloud.state / "backups").iterdir())
    assert len(kept) == 7 and kept[-1] == Path(newest).name and kept[0] == "pileus-20200103T000000Z.db"
    cloud.pileus("down")
    damage(cloud.state / "pileus.db", "networks")
    refused = cloud.pileus("db", "backup", check=False)
    assert refused.returncode == 1 and "no copy" in refused.stderr
    assert len(list((cloud.state / "backups").iterdir())) == 7


def test_too_many_connections_cost_new_ones_and_nothing_else(cloud: RealCloud) -> None:
    named(cloud, "before")
    limit = len(os.listdir(f"/proc/{cloud.pid()}/fd")) + 20
    resource.prlimit(cloud.pid(), resource.RLIMIT_NOFILE, (limit, limit))
    host, _, port = cloud.listen.rpartition(":")
    idle = [socket.create_connection((host, int(port)), timeout=5) for _ in range(100)]
    for one in idle:
        one.close()

    def works() -> bool:
        try:
            named(cloud, "afterwards")
        except Unavailable:
            return False
        return True

    until(works, 30, "an answer")
    assert names(cloud) >= {"before", "afterwards"}
    cloud.verify()
