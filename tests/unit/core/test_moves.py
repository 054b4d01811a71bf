"""What is expected of a live migration, when it tries harder, and where a guest can run."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core.moves import ROUNDS, Measure, can_run, expected_rounds, forecast, next_measure
from pileus.model.hosts import DriverCapabilities
from pileus.model.moves import MoveOptions, MoveRound

MIB = 1 << 20
sizes = st.integers(min_value=1, max_value=1 << 40)
rates = st.integers(min_value=0, max_value=1 << 36)
bandwidths = st.integers(min_value=1, max_value=1 << 36)
pauses = st.integers(min_value=0, max_value=10_000)


@given(sizes, rates, bandwidths, pauses)
def test_a_round_sends_what_the_one_before_left(memory: int, dirty: int, bandwidth: int, pause: int) -> None:
    rounds = expected_rounds(memory, dirty, bandwidth, pause)
    assert 1 <= len(rounds) <= ROUNDS
    assert rounds[0].sent == memory
    for before, after in pairwise(rounds):
        assert after.sent == before.remaining < before.sent
    assert all(0 <= one.remaining <= memory for one in rounds)
    assert [one.number for one in rounds] == list(range(1, len(rounds) + 1))


@given(sizes, rates, bandwidths, pauses)
def test_what_converges_ends_with_the_pause_that_is_aimed_at(memory: int, dirty: int, bandwidth: int, pause: int) -> None:
    found = forecast(memory, dirty, bandwidth, pause, deadline=float("inf"))
    assert found.converges == (not found.reason)
    if found.converges:
        assert found.pause_ms <= pause
    else:
        assert found.pause_ms >= pause and "a second" in found.reason
    assert found.seconds >= memory / bandwidth


@given(sizes, bandwidths, pauses)
def test_a_guest_that_changes_nothing_takes_one_round_and_no_pause(memory: int, bandwidth: int, pause: int) -> None:
    found = forecast(memory, 0, bandwidth, pause, deadline=float("inf"))
    assert (found.converges, found.rounds, found.pause_ms) == (True, 1, 0)


@given(sizes, rates, bandwidths, pauses)
def test_more_bandwidth_never_makes_it_longer(memory: int, dirty: int, bandwidth: int, pause: int) -> None:
    slow, fast = (forecast(memory, dirty, each, pause, float("inf")) for each in (bandwidth, bandwidth * 2))
    assert fast.converges or not slow.converges
    assert fast.pause_ms <= slow.pause_ms or fast.rounds < slow.rounds


def test_a_forecast_says_the_figures_when_it_does_not_converge() -> None:
    found = forecast(1024 * MIB, 200 * MIB, 100 * MIB, 300)
    assert not found.converges
    assert found.reason == (
        "The guest changes 200 MiB a second and 100 MiB a second can be sent: after 1 round a pause of 10.2 s would be left, "
        "and 300 ms are aimed at."
    )
    assert "300 s are allowed" in forecast(1024 * MIB, 0, MIB, 300).reason


def line(number: int, remaining: int, throttle: int = 0) -> MoveRound:
    return MoveRound(
        number=number,
        seconds=1.0,
        sent=100,
        remaining=remaining,
        dirty_rate=100,
        bandwidth=100,
        throttle=throttle,
        predicted_pause_ms=remaining * 10,
    )


STALLED = [line(1, 100), line(2, 95), line(3, 90)]


@pytest.mark.parametrize(
    ("rounds", "seconds", "post_copy", "forced", "expected"),
    [
        ([], 0.0, True, False, Measure.WAIT),
        ([line(1, 100), line(2, 50), line(3, 20)], 1.0, True, False, Measure.WAIT),
        (STALLED, 1.0, True, False, Measure.AUTO_CONVERGE),
        ([*STALLED, line(4, 89, throttle=20)], 1.0, True, False, Measure.WAIT),
        (STALLED, 10.0, True, False, Measure.POST_COPY),
        (STALLED, 10.0, False, False, Measure.PAUSE),
        ([], 0.0, True, True, Measure.POST_COPY),
        ([], 0.0, False, True, Measure.PAUSE),
        ([line(1, 25), line(2, 25), line(3, 25)], 1.0, True, False, Measure.WAIT),
    ],
)
def test_what_is_tried_next(rounds: list[MoveRound], seconds: float, post_copy: bool, forced: bool, expected: Measure) -> None:
    options = MoveOptions(deadline=10.0, pause_ms=300)
    assert next_measure(rounds, options, seconds=seconds, post_copy=post_copy, forced=forced) is expected


def test_what_the_options_forbid_is_not_tried() -> None:
    plain = MoveOptions(deadline=10.0, auto_converge=False, post_copy=False)
    assert next_measure(STALLED, plain, seconds=1.0, post_copy=True) is Measure.WAIT
    assert next_measure(STALLED, plain, seconds=10.0, post_copy=True) is Measure.PAUSE


@given(st.lists(st.integers(0, 1 << 40), max_size=10), st.floats(0, 1000), st.booleans(), st.booleans())
def test_after_the_deadline_it_always_ends(left: list[int], seconds: float, post_copy: bool, forced: bool) -> None:
    rounds = [line(number + 1, one) for number, one in enumerate(left)]
    found = next_measure(rounds, MoveOptions(deadline=10.0), seconds=seconds, post_copy=post_copy, forced=forced)
    assert (found in (Measure.PAUSE, Measure.POST_COPY)) == (forced or seconds >= 10.0)


HERE = DriverCapabilities(driver="qemu", hypervisor_type="QEMU", hypervisor_version=7_002_022, accelerator="tcg", cpu_model="Xeon")


@pytest.mark.parametrize(
    ("machine", "cpu", "changes", "says"),
    [
        ("pc-q35-7.2", "max,la57=off", {}, ""),
        ("pc-q35-7.2", "Nehalem", {"hypervisor_version": 9_000_000}, ""),
        ("", "", {}, ""),
        ("pc-q35-7.2", "Nehalem", {"hypervisor_version": 7_001_000}, "needs QEMU 7.2"),
        ("pc-q35-7.2", "max", {"hypervisor_version": 7_003_000}, "another version of QEMU"),
        ("pc-q35-7.2", "max", {"hypervisor_version": 7_002_001}, ""),
        ("pc-q35-7.2", "host", {"cpu_model": "EPYC"}, "has EPYC"),
        ("pc-q35-7.2", "Nehalem", {"accelerator": "kvm"}, "has kvm"),
        ("simulated", "", {"driver": "simulated"}, "has simulated"),
    ],
)
def test_a_guest_only_goes_where_it_can_run(machine: str, cpu: str, changes: dict[str, object], says: str) -> None:
    found = can_run(machine, cpu, HERE, msgspec.structs.replace(HERE, **changes))
    assert says in found and bool(found) == bool(says)
