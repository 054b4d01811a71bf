"""A plan of faults, as a user writes it (TOML) and as it is kept beside the settings (`DIR/faults.json`).

See docs/how-to/test-double.md, which has each field with its limits.
"""

import random
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pileus.model.base import Model
from pileus.model.errors import Invalid

SERVICES = ("identity", "image", "compute", "network", "placement")
LARGEST = 1 << 20
"""Bytes of a plan."""

Chance = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=240.0)]
"""Below the time that the control plane gives a host for an operation (300 s)."""
Range = Annotated[list[Seconds], msgspec.Meta(min_length=2, max_length=2)]
"""From, to."""
Moment = Annotated[float, msgspec.Meta(ge=0.0, le=31_622_400.0)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Part(Model, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of the file: nothing in it is ignored."""


class Operation(Part, frozen=True, kw_only=True):
    """What a host makes of one kind of request. `takes`: seconds, or from-to, drawn evenly."""

    takes: Seconds | Range = 0.0
    fails: Chance = 0.0
    error: Text = "The host could not do this: asked for by the plan of faults."


class Operations(Part, frozen=True, kw_only=True):
    """By what is asked of a host. `change`: of a flavor, an interface, a name; `move`: to be ready for a server from another host."""

    build: Operation = Operation()
    rebuild: Operation = Operation()
    start: Operation = Operation()
    stop: Operation = Operation()
    reboot: Operation = Operation()
    pause: Operation = Operation()
    unpause: Operation = Operation()
    suspend: Operation = Operation()
    resume: Operation = Operation()
    change: Operation = Operation()
    delete: Operation = Operation()
    snapshot: Operation = Operation()
    move: Operation = Operation()

    def of(self, name: str) -> Operation:
        """By name."""
        found: Operation = getattr(self, name)
        return found


class Placement(Part, frozen=True, kw_only=True):
    """What becomes of the choice of a host."""

    fails: Chance = 0.0
    error: Text = "No valid host was found. There are not enough hosts available."


class ApiFaults(Part, frozen=True, kw_only=True):
    """What becomes of requests at the API, or at some services of it. `refuses` and `slow` are shares of them, `delay` the seconds by
    which the slow ones are late."""

    refuses: Chance = 0.0
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    slow: Chance = 0.0
    delay: Seconds | Range = 1.0
    services: list[Text] = []


class HostFault(Part, frozen=True, kw_only=True):
    """A host that is away: `at` seconds after the start of the control plane, for so many. Its guests end, unless they survive: then
    the host was only cut off."""

    host: Annotated[int, msgspec.Meta(ge=1)]
    at: Moment
    seconds: Moment = msgspec.field(name="for")
    guests_survive: bool = False


class FaultPlan(Part, frozen=True, kw_only=True):
    """All that goes wrong."""

    operations: Operations = Operations()
    placement: Placement = Placement()
    api: ApiFaults = ApiFaults()
    hosts: Annotated[list[HostFault], msgspec.Meta(max_length=10_000)] = []


class Kept(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a cloud remembers."""

    seed: int = 0
    plan: FaultPlan = FaultPlan()


def read(file: Path, hosts: int) -> FaultPlan:
    """The plan in a file, for so many hosts; Invalid names the field that is wrong."""
    try:
        data = file.read_bytes()
        if len(data) > LARGEST:
            raise Invalid(f"{file}: {len(data)} bytes are too many for a plan of faults; at most {LARGEST} are read.")
        raw = tomllib.loads(data.decode())
    except OSError as error:
        raise Invalid(f"{file} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} is not TOML: {error}.") from error
    return check(raw, str(file), hosts)


def check(raw: dict[str, Any], where: str, hosts: int) -> FaultPlan:
    """The plan, when it can be meant."""
    try:
        plan = msgspec.convert(raw, FaultPlan)
    except msgspec.ValidationError as error:
        what, _, field = str(error).partition(" - at ")
        place = field.strip("`").removeprefix("$.").replace("`", "") or "the file"
        raise Invalid(f"{where}: {place}: {what}.") from error
    ranges = {f"operations.{name}.takes": plan.operations.of(name).takes for name in Operations.__struct_fields__}
    ranges["api.delay"] = plan.api.delay
    for field, value in ranges.items():
        if isinstance(value, list) and value[0] > value[1]:
            raise Invalid(f"{where}: {field}: [{value[0]:g}, {value[1]:g}] ends before it begins.")
    for service in plan.api.services:
        if service not in SERVICES:
            raise Invalid(f"{where}: api.services: {service!r} is none of {', '.join(SERVICES)}.")
    for number, one in enumerate(plan.hosts):
        if one.host > hosts:
            raise Invalid(f"{where}: hosts[{number}].host: there is no host {one.host}, the cloud has {hosts}.")
    return plan


def drawn(value: float | list[float], source: random.Random) -> float:
    """Seconds."""
    return source.uniform(*value) if isinstance(value, list) else value


def kept(directory: Path) -> Kept | None:
    """What the cloud remembers; None without a plan."""
    file = directory / "faults.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise Invalid(f"{file} is not valid: {error}. Remove it, and say --faults FILE again.") from error


def keep(directory: Path, wanted: Kept) -> None:
    """Remember, whole or not at all; a plan without faults is no plan."""
    file = directory / "faults.json"
    if wanted.plan == FaultPlan() and not wanted.seed:
        file.unlink(missing_ok=True)
        return
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(wanted)) + b"\n")
    fresh.rename(file)
