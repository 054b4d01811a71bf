"""One tenant's storm of requests is held up, and nobody else's requests are."""

import asyncio
import time

import pytest

from pileus.api import request_limits
from pileus.api.request_limits import RequestLimits
from pileus.config import Config
from pileus.core.request_limits import BURST
from tests.api.harness import TestCloud
from tests.api.security.test_login_limits import Clock

SERVERS = "/compute/v2.1/servers"
RATE = 4.0


@pytest.fixture
def clock(cloud: TestCloud) -> Clock:
    one = Clock()

    async def sleep(seconds: float) -> None:
        one.now += seconds

    cloud.cloud.request_limits = RequestLimits(RATE, one, sleep)
    return one


def drain(cloud: TestCloud) -> None:
    """Use up what a tenant that was silent has free."""
    for _ in range(int(RATE * BURST)):
        assert cloud.call("GET", SERVERS, "member").status == 200


def test_beyond_its_share_a_request_waits_for_its_turn(cloud: TestCloud, clock: Clock) -> None:
    drain(cloud)
    began = clock.now
    for _ in range(12):
        assert cloud.call("GET", SERVERS, "member").status == 200
    assert clock.now - began == pytest.approx(12 / RATE, abs=1.1 / RATE)


def test_who_asks_much_more_is_told_when_to_come_again(cloud: TestCloud, clock: Clock) -> None:
    limits = cloud.cloud.request_limits

    async def at_once(seconds: float) -> None:
        """Others of the same tenant ask meanwhile."""

    limits._sleep = at_once  # type: ignore[assignment]
    answers = [cloud.call("GET", SERVERS, "member") for _ in range(int(RATE * BURST) + 10)]
    refused = [one for one in answers if one.status != 200]
    assert refused and {one.status for one in refused} == {429}
    assert refused[0].json["overLimit"]["code"] == 429 and "4 requests a second" in refused[0].json["overLimit"]["message"]
    clock.now += int(refused[0].headers["retry-after"])
    assert cloud.call("GET", SERVERS, "member").status == 200
    assert limits.refused == len(refused)


@pytest.mark.parametrize("path", ["/network/v2.0/networks", "/image/v2/images", "/placement/traits", "/identity/v3/auth/projects"])
def test_each_service_refuses_in_its_own_form_before_anything_is_done(cloud: TestCloud, clock: Clock, path: str) -> None:
    drain(cloud)
    cloud.cloud.request_limits._full_at[cloud.project_id("demo")] = clock.now + 100
    answer = cloud.call("GET", path, "member")
    assert answer.status == 429 and int(answer.headers["retry-after"]) > 1


def test_others_do_not_wait_nor_does_the_operator(cloud: TestCloud, clock: Clock) -> None:
    cloud.cloud.request_limits._full_at[cloud.project_id("demo")] = clock.now + 100
    began = clock.now
    for who in ("other_project_member", "admin"):
        for _ in range(int(RATE * BURST)):
            assert cloud.call("GET", SERVERS, who).status == 200
    assert cloud.call("GET", SERVERS).status == 401 and clock.now == began


def test_a_storm_of_one_tenant_takes_no_turns_of_another(cloud: TestCloud) -> None:
    """Counted in requests of the storm that are answered while one of the other's waits, not in seconds: a busy machine changes nothing."""

    async def storm(rate: float) -> int:
        cloud.cloud.request_limits = RequestLimits(rate)
        answered, ended = 0, False

        async def keep_asking() -> None:
            nonlocal answered
            while not ended:
                await asyncio.sleep(0)  # as a socket that has to become readable
                await cloud._call("GET", SERVERS, {"host": "x", "x-auth-token": loud}, b"")
                answered += 1

        tasks = [asyncio.create_task(keep_asking()) for _ in range(32)]
        while rate and cloud.cloud.request_limits.waited < 2:  # until its burst is used up
            await asyncio.sleep(0)
        between: list[int] = []
        for _ in range(50):
            before = answered
            await asyncio.sleep(0)
            found = await cloud._call("GET", SERVERS, {"host": "x", "x-auth-token": quiet}, b"")
            assert found.status == 200
            between.append(answered - before)
        ended = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return sorted(between)[48]

    loud, quiet = cloud.token("member"), cloud.token("other_project_member")
    assert cloud.run(storm(0.0)) >= 32, "without a limit each of the storm's has its turn first"
    cloud.cloud.request_limits = RequestLimits()
    limited = cloud.run(storm(20.0))
    assert limited <= 4


def test_it_is_off_by_default_and_set_by_the_operator(cloud: TestCloud) -> None:
    assert cloud.cloud.request_limits.rate == 0 and Config().project_requests == 0
    other = TestCloud(project_requests=7.0)
    try:
        assert other.cloud.request_limits.rate == 7
    finally:
        other.close()


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MOST", 100)
    clock = Clock()
    limits = RequestLimits(10.0, clock)

    async def script() -> None:
        for number in range(1000):
            clock.now += 0.05
            await limits.enter(f"tenant {number}")
            assert len(limits) <= 101

    asyncio.run(script())


def test_a_turn_costs_less_than_a_hundredth_of_a_request(cloud: TestCloud) -> None:
    limits, token = RequestLimits(1e9), cloud.token("member")

    async def turns() -> float:
        before = time.process_time()
        for _ in range(2000):
            await limits.enter("a")
        return (time.process_time() - before) / 2000

    async def requests() -> float:
        before = time.process_time()
        for _ in range(100):
            await cloud._call("GET", SERVERS, {"host": "x", "x-auth-token": token}, b"")
        return (time.process_time() - before) / 100

    assert min(asyncio.run(turns()) for _ in range(3)) * 100 < cloud.run(requests()) * 3
