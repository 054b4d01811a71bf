"""Joining a cloud: a token is good for one host, a removed host needs a new one."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

import pileus
from pileus.bus import nkeys
from pileus.bus.authority import new_authority
from pileus.model.hosts import Host
from pileus.store import admissions
from pileus.store.hosts import HOSTS
from tests.api.harness import Answer, TestCloud

NOVA = {"OpenStack-API-Version": "compute 2.96"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[TestCloud]:
    made = TestCloud(bus="nats://127.0.0.1:1")
    made.cloud.authority = new_authority()
    yield made
    made.close()


def token(cloud: TestCloud) -> str:
    return str(cloud.call("POST", "/cluster/v1/tokens", "admin", json={}).json["token"])


def join(cloud: TestCloud, text: str, host: str, key: str, **changes: Any) -> Answer:
    body = {"token": text, "host": host, "public_key": key, "version": pileus.__version__, "time": time.time(), **changes}
    return cloud.call("POST", "/cluster/v1/join", json=body)


def new_key() -> str:
    return nkeys.public_key(nkeys.new_seed("user"))


def remove(cloud: TestCloud, name: str) -> None:
    now = time.time() - 3600
    host = Host(id=f"id-{name}", created_at=now, updated_at=now, name=name, number=7, service_id=f"service-{name}", seen_at=now)
    cloud.write(lambda tx: HOSTS.insert(tx, host))
    assert cloud.call("DELETE", f"/compute/v2.1/os-services/service-{name}", "admin", headers=NOVA).status == 204


def test_a_removed_host_comes_back_by_a_new_token_alone_and_its_old_key_is_void(cloud: TestCloud) -> None:
    first, key = token(cloud), new_key()
    assert join(cloud, first, "h", key).status == 200
    assert join(cloud, first, "h", key).status == 200  # the answer was lost
    remove(cloud, "h")
    assert set(cloud.run(admissions.revoked(cloud.db))) == {key}
    refused = join(cloud, first, "h", key)
    assert refused.status == 403 and "new token" in refused.body.decode()
    fresh = new_key()
    assert join(cloud, first, "h", fresh).status == 409  # the token is another key's
    assert join(cloud, token(cloud), "h", fresh).status == 200
    assert set(cloud.run(admissions.revoked(cloud.db))) == {key}


def test_hosts_of_another_version_or_time_are_told_what_to_do(cloud: TestCloud) -> None:
    one = token(cloud)
    other = join(cloud, one, "x", new_key(), version="0.0.1")
    assert other.status == 409 and "same version" in other.body.decode()
    late = join(cloud, one, "x", new_key(), time=time.time() - 3600)
    assert late.status == 409 and "behind" in late.body.decode()
    assert join(cloud, "guessed", "x", new_key()).status == 403
    assert join(cloud, one, "x", new_key()).status == 200  # none of that used the token up
