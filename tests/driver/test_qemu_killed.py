"""The control plane is killed before each step of bringing a guest up, and again of bringing it down: the next start mends it."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pileus.model.guests import Guest, ObservedPower
from pileus.node.hypervisor import accelerators
from pileus.node.hypervisor.qemu import QemuDriver
from tests.driver import boot_sectors

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is missing")

TAG = "dead"
KILLED = 99

VICTIM = """
import asyncio, os, sys
from pathlib import Path
import msgspec
from pileus.model.guests import Guest
from pileus.node.hypervisor import accelerators
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.hypervisor.qmp import Qmp

state, verb, fatal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
guest = msgspec.json.decode(sys.stdin.buffer.read(), type=Guest)
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
    driver = QemuDriver(state, "dead", None, find_probe_image=lambda: None, grace=0.0)
    await driver.start(lambda _: None)
    asyncio.to_thread, Qmp.connect, Qmp.execute = deadly(asyncio.to_thread), deadly(Qmp.connect), deadly(Qmp.execute)
    if verb == "apply":
        observed = await driver.apply(guest)
        assert observed.error is None, observed
    else:
        await driver.remove(guest.id)

asyncio.run(main())
"""


def killed(state: Path, guest: Guest, verb: str, step: int) -> bool:
    """Let a process of its own do the verb, and die before the step; False when there are fewer steps."""
    argv = [sys.executable, "-c", VICTIM, str(state), verb, str(step)]
    done = subprocess.run(argv, input=msgspec.json.encode(guest), capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, KILLED), done.stderr.decode()
    return done.returncode == KILLED


def processes(guest: Guest) -> list[str]:
    """The living processes that run the guest."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                argv = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if f"guest={guest.id},".encode() in argv:
                found.append(entry)
    return found


def remains(state: Path, guest: Guest) -> list[str]:
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob(guest.id)]
    return processes(guest) + groups + [str(path) for path in (state / "guests").iterdir()]


async def mend(state: Path, guest: Guest, verb: str) -> None:
    driver = QemuDriver(state, TAG, lambda domain, port: -1, find_probe_image=lambda: None, grace=0.0)
    await driver.start(lambda _: None)
    try:
        if verb == "apply":
            observed = await driver.apply(guest)
            assert (observed.power, observed.error) == (ObservedPower.RUNNING, None), observed.error_detail
            assert processes(guest) == [str(observed.pid)]
    finally:
        await driver.remove(guest.id)
        await driver.close()
    assert remains(state, guest) == []


@pytest.mark.parametrize("verb", ["apply", "remove"])
def test_a_kill_before_any_step_is_mended_by_the_next_start(tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "KVM", tmp_path / "no-kvm")
    state, step = tmp_path / "node", 0
    while True:
        step += 1
        guest = msgspec.structs.replace(boot_sectors.guest(tmp_path), config_drive=True)
        if verb == "remove":
            assert not killed(state, guest, "apply", 0)
        died = killed(state, guest, verb, step)
        asyncio.run(mend(state, guest, verb))
        if not died:
            break
    assert step > 3, "there were hardly any steps to die at"
