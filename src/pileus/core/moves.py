"""What decides in a live migration: what is expected of it, when to try harder, and whether a host can run the guest at all.

Words of QEMU's migration, as in model/moves. No clock and no QEMU here: figures come in, a forecast or a measure goes out.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from pileus.model.hosts import DriverCapabilities
from pileus.model.moves import MoveForecast, MoveOptions, MoveRound

ROUNDS = 50
"""More rounds than these bring nothing: a guest that has not converged by then does not."""
SHRINKS = 0.8
"""A round converges when it leaves at most this share of what the one before left."""
PATIENCE = 2
"""Rounds in a row that don't shrink before the guest is throttled."""

_VERSIONED = re.compile(r"-(\d+)\.(\d+)$")


class Measure(StrEnum):
    """What to do next in a live migration that is still in its rounds."""

    WAIT = "wait"
    AUTO_CONVERGE = "auto_converge"  # throttle the guest
    POST_COPY = "post_copy"
    PAUSE = "pause"  # stop the guest for as long as it takes


def expected_rounds(memory: int, dirty_rate: int, bandwidth: int, pause_ms: float, limit: int = ROUNDS) -> list[MoveRound]:
    """The rounds of a guest that changes its memory evenly: each sends what was changed during the one before."""
    rounds: list[MoveRound] = []
    pending = memory
    while len(rounds) < limit:
        seconds = pending / bandwidth
        left = min(memory, int(dirty_rate * seconds))
        pause = left / bandwidth * 1000
        rounds.append(
            MoveRound(
                number=len(rounds) + 1,
                seconds=seconds,
                sent=pending,
                remaining=left,
                dirty_rate=dirty_rate,
                bandwidth=bandwidth,
                predicted_pause_ms=round(pause),
            )
        )
        if pause <= pause_ms or left >= pending:
            break
        pending = left
    return rounds


def forecast(memory: int, dirty_rate: int, bandwidth: int, pause_ms: int, deadline: float = 300.0) -> MoveForecast:
    """What a live migration would take. `memory` in use and rates in bytes; `deadline` in seconds."""
    bandwidth = max(1, bandwidth)
    rounds = expected_rounds(memory, dirty_rate, bandwidth, pause_ms)
    last = rounds[-1]
    pause = last.remaining / bandwidth
    seconds = sum(one.seconds for one in rounds) + pause
    reason = ""
    if pause * 1000 > pause_ms:
        after = "1 round" if len(rounds) == 1 else f"{len(rounds)} rounds"
        reason = (
            f"The guest changes {_rate(dirty_rate)} and {_rate(bandwidth)} can be sent: after {after} a pause of "
            f"{pause:.1f} s would be left, and {pause_ms} ms are aimed at."
        )
    elif seconds > deadline:
        reason = f"It would take {seconds:.0f} s and {deadline:.0f} s are allowed: {_size(memory)} in use, {_rate(bandwidth)} can be sent."
    return MoveForecast(
        converges=not reason,
        rounds=len(rounds),
        seconds=seconds,
        pause_ms=round(pause * 1000),
        memory=memory,
        dirty_rate=dirty_rate,
        bandwidth=bandwidth,
        reason=reason,
    )


def next_measure(rounds: Sequence[MoveRound], options: MoveOptions, *, seconds: float, post_copy: bool, forced: bool = False) -> Measure:
    """What to do next. `seconds`: since the memory's first round began; `post_copy`: both sides can do it. A guest that is throttled
    says so in its last round."""
    if forced or seconds >= options.deadline:
        return Measure.POST_COPY if post_copy and options.post_copy else Measure.PAUSE
    throttled = bool(rounds and rounds[-1].throttle)
    if options.auto_converge and not throttled and _stalls(rounds, options):
        return Measure.AUTO_CONVERGE
    return Measure.WAIT


def _stalls(rounds: Sequence[MoveRound], options: MoveOptions) -> bool:
    """Whether the last rounds left hardly less than those before them, and too much."""
    last = rounds[-(PATIENCE + 1) :]
    if len(last) <= PATIENCE or last[-1].predicted_pause_ms <= options.pause_ms:
        return False
    return all(after.remaining > before.remaining * SHRINKS for before, after in pairwise(last))


def can_run(machine: str, cpu_model: str, source: DriverCapabilities, destination: DriverCapabilities) -> str:
    """Why a guest that runs on `source` with this machine type and CPU model can't go on at `destination`; empty when it can."""
    if source.driver != destination.driver:
        return f"The guest runs under {source.driver} and the other host has {destination.driver}."
    if source.accelerator != destination.accelerator:
        return f"The guest runs on {source.accelerator} and the other host has {destination.accelerator}."
    if found := _VERSIONED.search(machine):
        needed = int(found[1]) * 1_000_000 + int(found[2]) * 1_000
        if destination.hypervisor_version < needed:
            return f"The guest's machine type {machine} needs QEMU {found[1]}.{found[2]}, and the other host's is older."
    base = cpu_model.partition(",")[0]
    if base == "host" and source.cpu_model != destination.cpu_model:
        return f"The guest sees its host's own CPU ({source.cpu_model}), and the other host has {destination.cpu_model}."
    if base == "max" and source.hypervisor_version // 1_000 != destination.hypervisor_version // 1_000:
        return "The guest's CPU has all that its QEMU emulates, and the other host has another version of QEMU."
    return ""


def _size(count: float) -> str:
    return f"{count / (1 << 20):.0f} MiB"


def _rate(count: float) -> str:
    return f"{_size(count)} a second"
