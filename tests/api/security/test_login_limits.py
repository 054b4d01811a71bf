"""Logins that fail are held up, and nobody else is."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.api.identity import login_limits, passwords
from pileus.api.identity.login_limits import LoginLimits
from pileus.cli.serving import api_server
from pileus.config import Config
from pileus.core.login_limits import CLOUD_FREE, FORGET, FREE, LONGEST_WAIT
from tests.api.harness import PASSWORD, Answer, TestCloud

V3 = "/identity/v3"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(cloud: TestCloud) -> Clock:
    one = Clock()
    cloud.cloud.login_limits = LoginLimits(one)
    return one


class Visitor:
    """Who logs in, from an address of its own."""

    def __init__(self, cloud: TestCloud, address: str = "192.0.2.1") -> None:
        self.cloud, self.address = cloud, address

    def post(self, path: str, body: Any) -> Answer:
        inner = self.cloud.app

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await inner({**scope, "client": (self.address, 40000)}, receive, send)

        self.cloud.app = app  # type: ignore[assignment]
        try:
            return self.cloud.call("POST", path, json=body)
        finally:
            self.cloud.app = inner

    def log_in(self, password: str, user: str = "member") -> Answer:
        who = {"name": user, "domain": {"id": "default"}, "password": password}
        return self.post(f"{V3}/auth/tokens", {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}}})

    def fail(self, times: int, user: str = "member") -> None:
        for _ in range(times):
            assert self.log_in("wrong", user).status == 401


def test_after_some_failures_the_next_try_waits_and_is_told_for_how_long(cloud: TestCloud, clock: Clock) -> None:
    visitor = Visitor(cloud)
    visitor.fail(FREE)
    for wait in (1, 2, 4, 8):
        answer = visitor.log_in(PASSWORD)
        assert (answer.status, answer.headers["retry-after"]) == (429, str(wait))
        assert answer.json["error"]["code"] == 429 and answer.json["error"]["title"] == "Too Many Requests"
        assert f"try again in {wait} second" in answer.json["error"]["message"]
        clock.now += wait
        visitor.fail(1)
    clock.now += 16
    assert visitor.log_in(PASSWORD).status == 201
    visitor.fail(FREE)  # the right password has forgiven what was before


def test_what_waits_costs_no_look_at_the_password(cloud: TestCloud, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(cloud)
    visitor.fail(FREE)

    async def never(hashed: str | None, password: str) -> bool:
        raise AssertionError("the password was looked at")

    monkeypatch.setattr(passwords, "verify", never)
    assert visitor.log_in(PASSWORD).status == 429


def test_the_right_password_from_another_address_and_other_users_go_on(cloud: TestCloud, clock: Clock) -> None:
    visitor = Visitor(cloud)
    visitor.fail(FREE)
    assert visitor.log_in(PASSWORD).status == 429
    assert Visitor(cloud, "192.0.2.2").log_in(PASSWORD).status == 201
    assert visitor.log_in(PASSWORD, "reader").status == 201
    assert visitor.log_in(PASSWORD).status == 429, "neither of them forgave the first"


def test_who_has_a_whole_ipv6_network_is_one_address(cloud: TestCloud, clock: Clock) -> None:
    for number in range(FREE):
        Visitor(cloud, f"2001:db8:0:1::{number}").fail(1)
    assert Visitor(cloud, "2001:db8:0:1:ffff::1").log_in(PASSWORD).status == 429
    assert Visitor(cloud, "2001:db8:0:2::1").log_in(PASSWORD).status == 201


def test_a_user_that_is_not_there_is_treated_like_one_that_is(cloud: TestCloud, clock: Clock) -> None:
    answers: list[list[Any]] = []
    for user in ("member", "nobody-of-that-name"):
        visitor = Visitor(cloud)
        seen = [visitor.log_in("wrong", user) for _ in range(FREE + 2)]
        answers.append([(one.status, one.body, one.headers.get("retry-after")) for one in seen])
    assert answers[0] == answers[1]


def test_the_names_of_a_user_are_one_user(cloud: TestCloud, clock: Clock) -> None:
    visitor = Visitor(cloud)
    visitor.fail(FREE - 1)
    who = {"id": cloud.user_id("member"), "password": "wrong"}
    by_id = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}}}
    assert visitor.post(f"{V3}/auth/tokens", by_id).status == 401
    assert visitor.log_in(PASSWORD).status == 429
    change = {"user": {"original_password": PASSWORD, "password": "another one"}}
    assert visitor.post(f"{V3}/users/{cloud.user_id('member')}/password", change).status == 429


def test_secrets_of_application_credentials_are_guessed_no_faster(cloud: TestCloud, clock: Clock) -> None:
    path = f"{V3}/users/{cloud.user_id('member')}/application_credentials"
    one = cloud.call("POST", path, "member", {"application_credential": {"name": "ci"}}).json["application_credential"]

    def use(secret: str) -> int:
        method = {"id": one["id"], "secret": secret}
        identity = {"methods": ["application_credential"], "application_credential": method}
        return Visitor(cloud).post(f"{V3}/auth/tokens", {"auth": {"identity": identity}}).status

    assert [use("wrong") for _ in range(FREE + 1)] == [401] * FREE + [429]
    assert use(one["secret"]) == 429
    clock.now += 1
    assert use(one["secret"]) == 201


def test_a_storm_from_everywhere_holds_up_who_fails_at_once_and_nobody_else(
    cloud: TestCloud, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def quickly(hashed: str | None, password: str) -> bool:
        return password == PASSWORD

    monkeypatch.setattr(passwords, "verify", quickly)
    for number in range(4 * CLOUD_FREE):
        Visitor(cloud, f"198.51.{number // 250}.{number % 250}").fail(1, "admin")
    late = Visitor(cloud, "203.0.113.9")
    late.fail(1)
    assert late.log_in(PASSWORD).status == 429
    assert Visitor(cloud, "203.0.113.10").log_in(PASSWORD).status == 201
    clock.now += LONGEST_WAIT
    assert late.log_in(PASSWORD).status == 201


def test_right_passwords_many_at_once_are_not_held_up(cloud: TestCloud, clock: Clock) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(_plain(cloud).status)) for _ in range(3 * FREE)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert found == [201] * 3 * FREE


def _plain(cloud: TestCloud) -> Answer:
    who = {"name": "member", "domain": {"id": "default"}, "password": PASSWORD}
    return cloud.call("POST", f"{V3}/auth/tokens", json={"auth": {"identity": {"methods": ["password"], "password": {"user": who}}}})


@contextlib.contextmanager
def served(cloud: TestCloud, config: Config) -> Iterator[str]:
    """The API as `pileus serve` listens, with these settings: host and port."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = api_server(SimpleNamespace(cloud=cloud.cloud, faults=None), config)  # type: ignore[arg-type]
    serving = asyncio.run_coroutine_threadsafe(server.serve(sockets=[sock]), cloud.loop)
    yield f"127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    serving.result(20)


@pytest.mark.parametrize(("proxies", "statuses"), [([], [401] * FREE + [429] * 2), (["127.0.0.1"], [401] * (FREE + 2))])
def test_a_header_says_where_a_login_comes_from_where_an_operator_names_its_proxy_alone(
    proxies: list[str], statuses: list[int], cloud: TestCloud, clock: Clock
) -> None:
    who = {"name": "member", "domain": {"id": "default"}, "password": "wrong"}
    body = json.dumps({"auth": {"identity": {"methods": ["password"], "password": {"user": who}}}})
    seen: list[int] = []
    with served(cloud, replace(cloud.cloud.config, trusted_proxies=proxies)) as address:
        for number in range(FREE + 2):
            connection = http.client.HTTPConnection(address, timeout=20)
            headers = {"Content-Type": "application/json", "X-Forwarded-For": f"192.0.2.{number}"}
            connection.request("POST", f"{V3}/auth/tokens", body, headers)
            seen.append(connection.getresponse().status)
            connection.close()
    assert seen == statuses


def test_what_is_remembered_is_bounded_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_limits, "MOST", 100)
    clock = Clock()
    limits = LoginLimits(clock)

    def fail(who: str) -> None:
        with limits.attempt(who, "192.0.2.1") as attempt:
            attempt.right = False

    for number in range(1000):
        fail(str(number))
    assert len(limits) == 100
    clock.now += FORGET
    fail("the last")
    assert len(limits) == 1
    with limits.attempt("the last", "192.0.2.1") as attempt:
        attempt.right = True
    assert len(limits) == 0


def test_a_try_that_ends_without_an_answer_is_no_failure(cloud: TestCloud, clock: Clock) -> None:
    limits = LoginLimits(clock)
    for _ in range(3 * FREE):
        with pytest.raises(RuntimeError), limits.attempt("u", "a"):
            raise RuntimeError
    assert len(limits) == 0
