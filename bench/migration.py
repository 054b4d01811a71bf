"""Measures a live migration with copied disks over TLS, beside QEMU's own, driven by hand with the same arguments in the same run.

    sudo ./pileus bench migration [--json] [--times 3]

A Linux guest writes to its memory and its disk meanwhile. The pause is from the source's STOP to the destination's RESUME, the total time
from the first command to the source until RESUME; the hosts are two directories on this machine.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from pileus.guest import build
from pileus.model.errors import NodeFailed
from pileus.model.guests import DiskImage, Guest, GuestDisk, Power
from pileus.model.messages import FinishIncoming, PrepareIncoming, StartOutgoing
from pileus.model.moves import MoveOptions
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.hypervisor.qemu_guest import QemuGuest
from pileus.node.hypervisor.qemu_move_disks import listener
from pileus.node.hypervisor.qemu_move_keys import load_keys
from pileus.node.hypervisor.qmp import Qmp
from pileus.reconcile.move_keys import make_keys

PATIENCE = 60.0
MEMORY_MIB = 256
DISK_MIB = 64  # written by the guest before it moves
WORK = f"""#!/bin/sh
dd if=/dev/urandom of=/root/data bs=1M count={DISK_MIB} 2>/dev/null
sync
echo bench-ready > /dev/console
while true; do dd if=/dev/urandom of=/run/work bs=64k count=16 2>/dev/null; date >> /root/dates; sync; sleep 1; done
"""


class Marks:
    """When guests stopped and went on, as QEMU's events told."""

    def __init__(self) -> None:
        self.stopped = self.resumed = 0.0

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Called for each event."""
        if name == "STOP":
            self.stopped = time.monotonic()
        elif name == "RESUME":
            self.resumed = time.monotonic()


def listening(marks: Marks) -> None:
    """Let our drivers' guests tell their events."""
    inner = QemuGuest._event

    def event(self: QemuGuest, name: str, data: Mapping[str, Any]) -> None:
        marks.event(name, data)
        inner(self, name, data)

    QemuGuest._event = event  # type: ignore[method-assign]


def guest_of(image: build.BuiltImage) -> Guest:
    """A small Linux guest without a network."""
    identity = str(uuid4())
    disk = DiskImage(sha256=image.sha256, path=str(image.disk), format="qcow2", virtual_size=1 << 30)
    meta = json.dumps({"uuid": identity, "name": "bench", "hostname": "bench"})
    return Guest(
        id=identity,
        name="bench",
        project_id="bench",
        generation=1,
        vcpus=1,
        memory_mib=MEMORY_MIB,
        disks=[GuestDisk(name="root", size=1 << 30, image=disk)],
        config_drive=True,
        metadata={"openstack/latest/meta_data.json": meta, "openstack/latest/user_data": WORK},
        video="none",
    )


def no_taps(domain_id: str, port_id: str) -> int:
    """These guests have no network."""
    raise NodeFailed("There are no taps here.")


async def until_ready(log: Path) -> None:
    """Until the guest has done what comes before the measurement."""
    deadline = time.monotonic() + PATIENCE
    while not log.exists() or b"bench-ready" not in log.read_bytes():
        if time.monotonic() > deadline:
            raise NodeFailed("The guest does not boot.", detail=str(log))
        await asyncio.sleep(0.05)
    await asyncio.sleep(2.0)  # its first loops


async def ours(source: QemuDriver, destination: QemuDriver, folder: Path, guest: Guest, marks: Marks) -> tuple[dict[str, float], list[str]]:
    """Our own way; also the arguments of the QEMU that ran. `marks` hears the events of both sides."""
    observed = await source.apply(guest)
    if observed.error:
        raise NodeFailed(observed.error, detail=observed.error_detail or "")
    argv = Path(f"/proc/{observed.pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    await until_ready(folder / "a" / "guests" / guest.id / "console.log")
    keys = make_keys("bench", time.time())
    seen = (await source.observe())[0]
    prepare = PrepareIncoming(
        migration_id="bench",
        guest=guest,
        address="127.0.0.1",
        keys=keys.destination,
        machine=seen.machine,
        cpu_model=seen.cpu_model,
    )
    target = await destination.moves.prepare_incoming(prepare)
    given = asyncio.Event()
    source._changed = lambda observed: given.set() if observed.migration else None
    began = time.monotonic()
    await source.moves.start_outgoing(
        StartOutgoing(migration_id="bench", guest_id=guest.id, target=target, options=MoveOptions(), keys=keys.source)
    )
    try:
        await asyncio.wait_for(given.wait(), PATIENCE)
    except TimeoutError as error:
        raise NodeFailed("The guest was not given away.", detail=str(await source.moves.progress("bench", guest.id))) from error
    await destination.moves.finish_incoming(FinishIncoming(migration_id="bench", guest=guest))
    figures = {"pause": marks.resumed - marks.stopped, "total": marks.resumed - began}
    await source.remove(guest.id)
    return figures, argv


class Hand:
    """A QEMU started by hand with a guest's arguments, in a directory of its own; without `-S`, so that it goes on by itself."""

    def __init__(self, argv: list[str], folder: Path, marks: Marks, more: list[str]) -> None:
        kept: list[str] = []
        for word in argv:
            if word == "-S":
                continue
            if word.startswith("socket,id=qmp"):
                word = "socket,id=qmp,path=qmp.sock,server=on,wait=off"
            elif word.startswith("socket,id=serial0"):
                word = "file,id=serial0,path=console.log"
            kept.append(word)
        self.folder = folder
        self.process = subprocess.Popen([*kept, *more], cwd=folder, stdout=subprocess.DEVNULL, stderr=sys.stderr)
        self.qmp = Qmp(folder.name, marks.event)

    async def connect(self) -> None:
        """Until it answers."""
        await asyncio.sleep(1.0)
        await self.qmp.connect(self.folder / "qmp.sock", 10.0)

    async def end(self) -> None:
        """Leave no process."""
        await self.qmp.close()
        self.process.kill()
        self.process.wait()


def hand_folder(folder: Path, name: str, guest: Guest, made: Path) -> Path:
    """A directory like a guest's: a blank overlay of the same base, and the same config drive."""
    place = folder / name / "guests" / guest.id
    (place / "disks").mkdir(parents=True)
    image = guest.disks[0].image
    assert image
    (folder / name / "base").mkdir(exist_ok=True)
    os.link(image.path, folder / name / "base" / image.sha256)
    backing = f"../../../base/{image.sha256}"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", "disks/root", "1G"]
    subprocess.run(argv, cwd=place, check=True, timeout=60)
    shutil.copyfile(made / "config.iso", place / "config.iso")
    return place


async def by_hand(argv: list[str], folder: Path, guest: Guest, made: Path) -> dict[str, float]:
    """What QEMU's manual says, as fast as a program can type it."""
    keys, marks, idle = make_keys("hand", time.time()), Marks(), Marks()
    source = Hand(argv, hand_folder(folder, "hand-a", guest, made), idle, [])
    try:
        await source.connect()
        await until_ready(source.folder / "console.log")
        destination = Hand(argv, hand_folder(folder, "hand-b", guest, made), marks, ["-incoming", "defer"])
        try:
            await destination.connect()
            there, here = destination.qmp.execute, source.qmp.execute
            await load_keys(destination.qmp, destination.folder, keys.destination, None, server=True)
            await load_keys(source.qmp, source.folder, keys.source, None, server=False)
            port = await listen(there)
            began = time.monotonic()
            server = {"type": "inet", "host": "127.0.0.1", "port": port[0]}
            tls = {"tls_creds": "move-tls", "tls_hostname": keys.name}
            await here("blockdev-add", driver="nbd", node_name="copy", server=server, export="root", **tls)
            await here("blockdev-mirror", job_id="copy", device="disk-root", target="copy", sync="top")
            await until(here, "query-jobs", lambda jobs: jobs and jobs[0]["status"] == "ready")
            wanted = ("events", "return-path", "pause-before-switchover", "auto-converge")
            await here("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in wanted])
            await here("migrate-set-parameters", max_bandwidth=1 << 40, downtime_limit=300, **tls)
            await here("migrate", uri=f"tcp:127.0.0.1:{port[1]}")
            await until(here, "query-migrate", lambda found: found["status"] == "pre-switchover")
            await here("block-job-cancel", device="copy")
            await until(here, "query-jobs", lambda jobs: not jobs)
            await here("blockdev-del", node_name="copy")
            await here("migrate-continue", state="pre-switchover")
            await until(here, "query-migrate", lambda found: found["status"] == "completed")
            await there("nbd-server-stop")
            await there("cont")
            await until(there, "query-status", lambda found: found["running"])
            return {"pause": marks.resumed - idle.stopped, "total": marks.resumed - began}
        finally:
            await destination.end()
    finally:
        await source.end()


async def listen(there: Any) -> tuple[str, int]:
    """(port for disks, port for memory) at the destination."""
    one, port = listener("127.0.0.1")
    one.close()
    address = {"type": "inet", "data": {"host": "127.0.0.1", "port": str(port)}}
    await there("nbd-server-start", addr=address, tls_creds="move-tls")
    await there("block-export-add", type="nbd", id="root", node_name="disk-root", name="root", writable=True)
    wanted = [{"capability": name, "state": True} for name in ("events", "late-block-activate")]
    await there("migrate-set-capabilities", capabilities=wanted)
    await there("migrate-set-parameters", tls_creds="move-tls")
    await there("migrate-incoming", uri="tcp:127.0.0.1:0")
    return str(port), int((await there("query-migrate"))["socket-address"][0]["port"])


async def until(execute: Any, command: str, wanted: Any) -> None:
    """Ask again and again; five milliseconds apart."""
    deadline = time.monotonic() + PATIENCE
    while not wanted(await execute(command)):
        if time.monotonic() > deadline:
            raise NodeFailed("QEMU by hand does not get there.", detail=command)
        await asyncio.sleep(0.005)


async def measure(times: int) -> list[dict[str, float]]:
    """Both ways in turn, `times` times."""
    image = build.cached(build.default_cache())
    if image is None:
        raise NodeFailed("The guest image is not built: ./pileus image build")
    rounds: list[dict[str, float]] = []
    marks = Marks()
    listening(marks)
    for _ in range(times):
        folder = Path(tempfile.mkdtemp(prefix="pileus-migration-"))
        folder.chmod(0o711)
        source, destination = (QemuDriver(folder / name, f"bench{name}", no_taps) for name in "ab")
        guest = guest_of(image)
        for driver in (source, destination):
            await driver.start(lambda _: None)
        try:
            mine, argv = await ours(source, destination, folder, guest, marks)
            await destination.apply(msgspec.structs.replace(guest, power=Power.STOPPED, generation=2, extra={"os_shutdown_timeout": "0"}))
            hand = await by_hand(argv, folder, guest, folder / "b" / "guests" / guest.id)
        finally:
            for driver in (destination, source):
                await driver.remove(guest.id)
                await driver.close()
            shutil.rmtree(folder)
        named = [(f"{name}, {who}", value) for who, found in (("ours", mine), ("by hand", hand)) for name, value in found.items()]
        rounds.append(dict(named))
    return rounds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    rounds = asyncio.run(measure(options.times))
    median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    for kind in ("pause", "total"):
        median[f"{kind}, ratio"] = median[f"{kind}, ours"] / median[f"{kind}, by hand"]
    if options.json:
        print(json.dumps(median, indent=2))
        return
    for name, value in median.items():
        print(f"{name:<20} {value:>9.2f}" if name.endswith("ratio") else f"{name:<20} {value * 1000:>9.0f} ms")


if __name__ == "__main__":
    main()
