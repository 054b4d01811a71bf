"""An agent is killed before each step of beginning and of finishing a move: the next one mends it, and the guest runs once."""

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from pileus.model.guests import Guest, ObservedPower
from pileus.model.messages import FinishIncoming, NodeRequest, PrepareIncoming, StartOutgoing
from pileus.model.moves import MoveOptions, MovePhase
from pileus.node.hypervisor import accelerators
from pileus.reconcile.move_keys import make_keys
from tests.driver import boot_sectors
from tests.driver.move_hosts import Host, boot, goes_on, play, until

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is missing")

KILLED = 99
STRIDE = {PrepareIncoming: 3}
"""Of its many steps, each third is enough: all that they make is made anew."""
VICTIM = """
import asyncio, os, sys
from pathlib import Path
import msgspec
from pileus.model.messages import FinishIncoming, PrepareIncoming, StartOutgoing
from pileus.node.hypervisor import accelerators
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.hypervisor.qmp import Qmp

state, tag, fatal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
request = msgspec.json.decode(sys.stdin.buffer.read(), type=FinishIncoming | PrepareIncoming | StartOutgoing)
accelerators.KVM = state / "no-kvm"
steps = 0

def deadly(function):
    def call(*arguments, **named):
        global steps
        steps += 1
        if steps == fatal:
            os._exit(99)
        return function(*arguments, **named)
    return call

async def main():
    driver = QemuDriver(state, tag, None, find_probe_image=lambda: None, grace=0.0)
    await driver.start(lambda _: None)
    asyncio.to_thread, Qmp.connect, Qmp.execute = deadly(asyncio.to_thread), deadly(Qmp.connect), deadly(Qmp.execute)
    if isinstance(request, FinishIncoming):
        await driver.moves.finish_incoming(request)
    elif isinstance(request, PrepareIncoming):
        await driver.moves.prepare_incoming(request)
    else:
        await driver.moves.start_outgoing(request)
    os._exit(0)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "KVM", tmp_path / "no-kvm")


async def killed(host: Host, request: NodeRequest, step: int) -> bool:
    """Let a process of its own answer, and die before the step; False when there are fewer steps. Then there is a new agent."""
    await host.driver.close()

    def call() -> int:
        argv = [sys.executable, "-c", VICTIM, str(host.state), f"mv{host.name}", str(step)]
        done = subprocess.run(argv, input=msgspec.json.encode(request), capture_output=True, timeout=60, check=False)
        assert done.returncode in (0, KILLED), done.stderr.decode()
        return done.returncode

    status = await asyncio.to_thread(call)
    await host.restart()
    return status == KILLED


def requests(guest: Guest, move: str, machine: str, cpu_model: str) -> tuple[PrepareIncoming, StartOutgoing]:
    keys = make_keys(move, time.time())
    prepare = PrepareIncoming(
        migration_id=move, guest=guest, address="127.0.0.1", keys=keys.destination, machine=machine, cpu_model=cpu_model
    )
    start = StartOutgoing(
        migration_id=move,
        guest_id=guest.id,
        target=None,
        options=MoveOptions(),
        keys=keys.source,  # type: ignore[arg-type]
    )
    return prepare, start


async def runs_once(guest: Guest, *hosts: Host) -> None:
    """At most one QEMU's guest runs, whatever was killed."""
    seen = [await host.seen(guest) for host in hosts]
    assert [one.power for one in seen if one].count(ObservedPower.RUNNING) <= 1, seen


async def go(source: Host, destination: Host, guest: Guest, verb: type, step: int) -> bool:
    """A move in which one request is killed at this step, and asked again as a control plane does. False when it had fewer steps."""
    move, seen = f"move{step}", await source.seen(guest)
    assert seen
    prepare, start = requests(guest, move, seen.machine, seen.cpu_model)
    hit = True
    if verb is PrepareIncoming:
        hit = await killed(destination, prepare, step)
    target = await destination.driver.moves.prepare_incoming(prepare)
    start = msgspec.structs.replace(start, target=target)
    if verb is StartOutgoing:
        hit = await killed(source, start, step)
        await runs_once(guest, source, destination)
    await source.driver.moves.start_outgoing(start)
    await until(lambda: source.driver._guests[guest.id].move.phase is MovePhase.SWITCHED, "it is not given away")
    finish = FinishIncoming(migration_id=move, guest=guest)
    if verb is FinishIncoming:
        hit = await killed(destination, finish, step)
        await runs_once(guest, source, destination)
    done = await destination.driver.moves.finish_incoming(finish)
    assert (done.power, done.migration) == (ObservedPower.RUNNING, "")
    await goes_on(destination, guest)
    await runs_once(guest, source, destination)
    await source.driver.remove(guest.id)
    assert source.processes(guest) == [] and len(destination.processes(guest)) == 1
    return hit


@pytest.mark.parametrize("verb", [PrepareIncoming, StartOutgoing, FinishIncoming])
def test_an_agent_killed_at_each_step_is_mended_by_the_next(tmp_path: Path, verb: type) -> None:
    guest = boot_sectors.guest(tmp_path, boot_sectors.COUNTING)

    async def scenario(first: Host, second: Host) -> None:
        await boot(first, guest)
        await goes_on(first, guest)
        step, hosts = 1, (first, second)
        while await go(*hosts, guest, verb, step):
            hosts = hosts[::-1]
            step += STRIDE.get(verb, 1)
        assert step > 3, "hardly anything was killed"

    play(tmp_path, guest, scenario)
