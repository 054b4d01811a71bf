"""A guest, and whoever has taken over its QEMU, gets no more of the host than its flavor gives: CPU, memory, processes, disk operations.

Its bandwidth: test_network_rates.py; its console's log: test_qemu_driver.py.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from pileus.model.guests import Guest, ObservedGuest
from pileus.node.hypervisor import accelerators
from pileus.node.hypervisor.confinement import FIRST_UID, THREADS, Confinement
from pileus.node.hypervisor.qemu import QemuDriver
from tests.driver import boot_sectors
from tests.driver.test_qemu_driver import TAG, run, until

pytestmark = [
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is missing"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can bound guests"),
]
TICKS = os.sysconf("SC_CLK_TCK")


def controllers() -> str:
    return " ".join(Confinement(TAG).controllers)


@pytest.fixture(autouse=True)
def no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "KVM", tmp_path / "no-kvm")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@pytest.mark.skipif("cpu" not in controllers(), reason="no CPU controller that can be used here")
def test_a_guest_that_never_rests_gets_its_share_of_a_cpu_and_no_more(tmp_path: Path) -> None:
    guest = msgspec.structs.replace(boot_sectors.guest(tmp_path, boot_sectors.BUSY), cpu_quota=0.2)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        observed = await driver.apply(guest)
        assert observed.error is None and observed.pid is not None, (observed.error, observed.error_detail)
        pid = observed.pid
        await until(lambda: cpu_seconds(pid) > 0.2, "the guest does not run")
        began, before = time.monotonic(), cpu_seconds(pid)
        await until(lambda: cpu_seconds(pid) - before > 0.4, "the guest gets no CPU")
        assert (cpu_seconds(pid) - before) / (time.monotonic() - began) < 0.3

    run(tmp_path, guest, scenario)


def test_a_guest_writes_no_more_often_than_its_flavor_lets_it(tmp_path: Path) -> None:
    """It tries 18 times a second."""
    guest = msgspec.structs.replace(boot_sectors.guest(tmp_path, boot_sectors.COUNTING), extra={"quota:disk_write_iops_sec": "4"})

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        observed = await driver.apply(guest)
        assert observed.error is None, (observed.error, observed.error_detail)
        began, writes, deadline = None, 0, time.monotonic() + 30
        while writes < 20 and time.monotonic() < deadline:
            writes = sum(disk["write_requests"] for disk in (await driver.stats(guest.id)).disk_details)
            began = began or (time.monotonic() if writes else None)
            await asyncio.sleep(0.05)
        assert began is not None and writes >= 20, "the guest writes"
        assert writes <= 4 * (time.monotonic() - began) + 8, "4 a second, and what may come at once"

    run(tmp_path, guest, scenario)


@pytest.fixture
def bounded() -> Iterator[tuple[Confinement, Guest]]:
    """The control groups of a guest of 64 MiB and one CPU."""
    confinement, guest = Confinement(TAG), Guest(id=str(uuid4()), name="taken over", project_id="p", vcpus=1, memory_mib=64)
    assert confinement.limit(guest, 0) == []
    yield confinement, guest
    confinement.remove(guest.id)


def taken_over(bounded: tuple[Confinement, Guest], program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program where the guest's QEMU would be, as its user."""
    confinement, guest = bounded
    command = [*confinement.prefix(FIRST_UID), sys.executable, "-c", f"input()\n{program}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert confinement.enter(guest.id, process.pid) == []
            output, errors = process.communicate("\n", timeout=60)
        finally:
            process.kill()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@pytest.mark.skipif("pids" not in controllers(), reason="no controller of processes that can be used here")
def test_no_more_processes_can_be_made_than_a_guest_needs(bounded: tuple[Confinement, Guest]) -> None:
    program = """
import os, signal
made = []
try:
    while len(made) < 400:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        made.append(pid)
except OSError as error:
    print(error.errno, len(made))
for pid in made:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""
    done = taken_over(bounded, program)
    code, made = done.stdout.split()
    assert (int(code), int(made)) == (11, THREADS), "EAGAIN; the first process counts as well"


@pytest.mark.skipif("memory" not in controllers(), reason="no memory controller that can be used here")
def test_what_takes_more_memory_than_the_guest_has_is_killed_alone(bounded: tuple[Confinement, Guest]) -> None:
    done = taken_over(bounded, "kept = [bytearray(b'x') * (1 << 20) for _ in range(1000)]\nprint('had it all')")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    done = taken_over(bounded, "kept = [bytearray(b'x') * (1 << 20) for _ in range(100)]\nprint('had it all')")
    assert (done.returncode, done.stdout) == (0, "had it all\n"), done.stderr
