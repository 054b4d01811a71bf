"""The QEMU driver: guests by QMP, on KVM where it works and TCG elsewhere, confined, outliving this process."""

import asyncio
import logging
import platform
import re
import shutil
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec

from pileus.core.qemu_argv import BINARIES
from pileus.ending import end
from pileus.model.errors import NodeFailed, NotFound
from pileus.model.guests import ConsoleKind, Diagnostics, Guest, ObservedGuest
from pileus.model.hosts import DriverCapabilities
from pileus.model.messages import PrepareIncoming, SnapshotDone
from pileus.node.hypervisor import qemu_figures, qemu_move_record, qemu_record, qemu_snapshot
from pileus.node.hypervisor.accelerators import Accelerator, FindProbeImage, built_probe_image, find_accelerator
from pileus.node.hypervisor.confinement import Confinement
from pileus.node.hypervisor.driver import Changed, OpenTap
from pileus.node.hypervisor.qemu_guest import Host, QemuGuest
from pileus.node.hypervisor.qemu_move_record import MoveRecord
from pileus.node.hypervisor.qemu_moves import QemuMoves
from pileus.node.hypervisor.qemu_post_copy import post_copy_works
from pileus.node.hypervisor.qemu_record import Record
from pileus.node.storage.local import LocalStorage
from pileus.node.storage.shared import SharedDisks

log = logging.getLogger(__name__)

LOG_KEPT = 1 << 20
"""Bytes of console log that are kept; it may grow to twice that between two looks."""
LOG_SECONDS = 5.0


class QemuDriver:
    """Guests of one host. `state`: the node's directory; `tag`: the cloud's; `grace`: seconds that a guest may take to shut down."""

    name = "qemu"
    starts_stopped = True

    def __init__(
        self,
        state: Path,
        tag: str,
        open_tap: OpenTap,
        *,
        find_probe_image: FindProbeImage = built_probe_image,
        grace: float = 60.0,
        shared: SharedDisks | None = None,
    ) -> None:
        self._state = state
        self._find_probe_image = find_probe_image
        self._guests: dict[str, QemuGuest] = {}
        self._changed: Changed | None = None
        self._accelerator: asyncio.Task[Accelerator] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._host = Host(
            guests=state / "guests",
            storage=LocalStorage(state, shared),
            confinement=Confinement(tag),
            open_tap=open_tap,
            accelerator=self._await_accelerator,
            changed=self._report,
            background=self._background,
            grace=grace,
        )
        self.moves = QemuMoves(self._host, self._guests, self._adopt_incoming, self.remove)

    # -- life ------------------------------------------------------------------------------------------------------------------------

    async def probe(self, refresh: bool = False) -> DriverCapabilities:
        """What QEMU does here. The accelerator's probe takes seconds, once in a boot of the host; guests wait for it, nothing else does."""
        version, emulated = await asyncio.to_thread(_installed)
        accelerator = await self._await_accelerator(refresh)
        confined = await asyncio.to_thread(self._host.confinement.user_works)
        native = platform.machine()
        return DriverCapabilities(
            driver=self.name,
            hypervisor_type="KVM" if accelerator.name == "kvm" else "QEMU",
            hypervisor_version=version,
            accelerator=accelerator.name,
            accelerator_reason=f"{accelerator.reason}; {'no own user id: ' + confined if confined else self._host.confinement.describe()}",
            levels=["hardware"] if accelerator.name == "kvm" else ["hardware", "instruction-set"],
            architectures=[name for name in emulated if accelerator.name != "kvm" or name == native or name == "i686"],
            modes=["hvm"],
            features=[*FEATURES, *await asyncio.to_thread(self._more_features, emulated)],
            traits=TRAITS,
            cpu_model=await asyncio.to_thread(_cpu_model),
        )

    async def start(self, changed: Changed) -> list[ObservedGuest]:
        """Adopt the guests that run, and see which ended meanwhile."""
        self._changed = changed
        await asyncio.to_thread(self._prepare)
        found = await asyncio.to_thread(self._records)
        for record in found:
            move = await asyncio.to_thread(qemu_move_record.load, self._host.guests / record.guest.id)
            self._guests[record.guest.id] = QemuGuest(self._host, record, move)
        for result in await asyncio.gather(*(guest.adopt() for guest in self._guests.values()), return_exceptions=True):
            if isinstance(result, BaseException):
                log.error("a guest could not be adopted: %s", result)
        await self.moves.adopt()
        await asyncio.gather(*(qemu_snapshot.sweep(guest) for guest in self._guests.values()))
        await asyncio.to_thread(self._collect)
        self._background(self._trim_logs())
        return await self.observe()

    async def observe(self) -> list[ObservedGuest]:
        """Every guest of which anything is left."""
        return [guest.observed() for guest in self._guests.values()]

    def guests(self) -> list[Guest]:
        """Every guest as it was applied last."""
        return [guest.record.guest for guest in self._guests.values()]

    async def close(self) -> None:
        """Let go; guests go on."""
        await end([*self._tasks, self._accelerator])
        await self.moves.close()
        await asyncio.gather(*(guest.release() for guest in self._guests.values()))
        self._guests.clear()

    # -- verbs -----------------------------------------------------------------------------------------------------------------------

    async def apply(self, guest: Guest, network: "asyncio.Future[Any] | None" = None) -> ObservedGuest:
        """See HypervisorDriver."""
        known = self._guests.get(guest.id)
        if known is None:
            known = QemuGuest(self._host, self._new_record(guest))
            self._guests[guest.id] = known
            await asyncio.to_thread(qemu_record.make_directory, known.directory, known.record, self._host.storage)
        return await known.apply(guest, network)

    async def remove(self, guest_id: str) -> None:
        """End its QEMU, delete its directory and control groups."""
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z_-]*", guest_id):
            raise NodeFailed(f"{guest_id!r} can't be a guest's id.")
        await self.moves.drop(guest_id)
        nameless = Guest(id=guest_id, name="", project_id="", vcpus=1, memory_mib=0)  # its record may be lost
        await (self._guests.get(guest_id) or QemuGuest(self._host, Record(guest=nameless))).end()
        await asyncio.to_thread(self._delete, guest_id)
        self._guests.pop(guest_id, None)
        await asyncio.to_thread(self._collect)

    async def snapshot(self, guest_id: str, destination: Path) -> SnapshotDone:
        """Copy the root disk, as it is at this moment, to a stand-alone qcow2 file."""
        return await qemu_snapshot.snapshot(self._guest(guest_id), destination)

    async def console(self, guest_id: str, kind: ConsoleKind) -> str:
        """The path of the socket."""
        guest = self._guest(guest_id)
        path = guest.directory / ("vnc.sock" if kind is ConsoleKind.VNC else "serial.sock")
        if guest.process is None:
            raise NodeFailed("The server does not run, so it has no console.")
        if not path.exists():
            raise NodeFailed(f"The server has no {kind.value} console.")
        return str(path)

    async def console_log(self, guest_id: str, lines: int | None) -> str:
        """The last lines of what the guest printed on its first serial port."""
        return await asyncio.to_thread(_last_lines, self._guest(guest_id).directory / "console.log", lines)

    async def stats(self, guest_id: str) -> Diagnostics:
        """Figures from QEMU and the kernel."""
        return await qemu_figures.read_figures(self._guest(guest_id))

    # -- inner -----------------------------------------------------------------------------------------------------------------------

    def _guest(self, guest_id: str) -> QemuGuest:
        guest = self._guests.get(guest_id)
        if guest is None:
            raise NotFound(f"There is no guest {guest_id} on this host.")
        return guest

    async def _adopt_incoming(self, request: PrepareIncoming, move: MoveRecord) -> QemuGuest:
        """A new guest that comes from another host, known by its move from the first moment."""
        record = msgspec.structs.replace(self._new_record(request.guest), machine=request.machine, cpu_model=request.cpu_model)
        guest = QemuGuest(self._host, record, move)
        self._guests[record.guest.id] = guest
        await asyncio.to_thread(qemu_record.make_directory, guest.directory, record, self._host.storage, move)
        return guest

    def _new_record(self, guest: Guest) -> Record:
        shared = self._host.storage.shared
        if shared and (user := shared.user_of(guest.id)):
            return Record(guest=guest, user=user, reboots_soft=guest.reboots_soft, reboots_hard=guest.reboots_hard, builds=guest.builds)
        taken = {one.record.user for one in self._guests.values() if one.record.user is not None}
        return Record(
            guest=guest,
            user=self._host.confinement.user_of(guest.id, taken),
            reboots_soft=guest.reboots_soft,
            reboots_hard=guest.reboots_hard,
            builds=guest.builds,
        )

    def _more_features(self, emulated: list[str]) -> list[str]:
        found = ["migrate-post-copy"] if post_copy_works(BINARIES[emulated[0]], self._host.confinement) else []
        return [*found, "shared-disks"] if self._host.storage.shared else found

    def _prepare(self) -> None:
        self._host.guests.mkdir(parents=True, exist_ok=True)
        for path in (self._state, self._host.guests):
            path.chmod(0o711)  # guests' users pass through to their own directory and the base images
        self._host.storage.prepare()
        for path in self._host.guests.glob(f".*{qemu_record.PARTIAL}"):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self._state / "snapshots").glob(".*"):  # copies that were on their way to their name
            path.unlink(missing_ok=True)

    def _records(self) -> list[Record]:
        found: list[Record] = []
        for path in self._host.guests.iterdir():
            qemu_record.sweep(path)
            record = qemu_record.load(path)
            if record:
                found.append(record)
            else:
                log.error("%s holds no readable record of a guest; it is left alone", path)
        return found

    def _delete(self, guest_id: str) -> None:
        directory = self._host.guests / guest_id
        if directory.exists():
            doomed = directory.with_name(f".{guest_id}.doomed{qemu_record.PARTIAL}")
            shutil.rmtree(doomed, ignore_errors=True)
            directory.rename(doomed)  # so that a crash leaves no half-deleted guest that looks like one
            shutil.rmtree(doomed)
        if self._host.storage.shared:
            self._host.storage.shared.remove(guest_id)
        self._host.confinement.remove(guest_id)

    def _collect(self) -> None:
        def used() -> set[str]:
            return {disk.image.sha256 for guest in list(self._guests.values()) for disk in guest.record.guest.disks if disk.image}

        self._host.storage.collect(used)

    def _report(self, observed: ObservedGuest) -> None:
        if self._changed:
            self._changed(observed)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("background work on guests failed", exc_info=error)

    async def _await_accelerator(self, refresh: bool = False) -> Accelerator:
        """One probe for all who ask; a new one when the last could not be sure."""
        task = self._accelerator
        if task is None or refresh or (task.done() and (task.cancelled() or task.exception() or not task.result().final)):
            task = self._accelerator = asyncio.create_task(find_accelerator(self._state, self._find_probe_image, refresh))
        return await asyncio.shield(task)

    async def _trim_logs(self) -> None:
        """A guest can't fill the host's disk by printing."""
        while True:
            await asyncio.sleep(LOG_SECONDS)
            for guest in list(self._guests.values()):
                if guest.process is not None:
                    for name in ("console.log", "qemu.log"):
                        await asyncio.to_thread(_trim, guest.directory / name)


FEATURES = [
    "pause",
    "suspend",
    "snapshot",
    "vnc",
    "serial",
    "console-log",
    "reboot-soft",
    "reboot-hard",
    "config-drive",
    "rebuild",
    "direct-kernel-boot",
    "migrate-live",
    "migrate-off",
]
TRAITS = [
    *(f"COMPUTE_STORAGE_BUS_{bus}" for bus in ("VIRTIO", "SCSI", "SATA", "IDE", "USB", "NVME")),
    *(f"COMPUTE_NET_VIF_MODEL_{model}" for model in ("VIRTIO", "E1000", "E1000E", "RTL8139", "NE2K_PCI", "PCNET")),
    *(f"COMPUTE_GRAPHICS_MODEL_{model}" for model in ("VGA", "VIRTIO", "CIRRUS", "NONE")),
    *(f"COMPUTE_IMAGE_TYPE_{kind}" for kind in ("QCOW2", "RAW", "ISO")),
]


def _installed() -> tuple[int, list[str]]:
    """(QEMU's version as 7002022 for 7.2.22, the architectures whose QEMU is installed)."""
    from subprocess import run

    emulated = [name for name, binary in BINARIES.items() if shutil.which(binary)]
    if not emulated:
        raise NodeFailed("QEMU is not installed on this host.", detail="apt-get install qemu-system-x86 qemu-utils")
    text = run([BINARIES[emulated[0]], "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    match = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", text)
    major, minor, micro = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    return major * 1_000_000 + minor * 1_000 + micro, emulated


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _last_lines(path: Path, lines: int | None) -> str:
    try:
        text = path.read_bytes().decode(errors="replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return ""
    return text if lines is None else "".join(deque(text.splitlines(keepends=True), maxlen=max(0, lines)))


def _trim(path: Path) -> None:
    """Keep the newest part. QEMU appends at the file's end, wherever that is, so it may be shortened under it."""
    try:
        if path.stat().st_size <= 2 * LOG_KEPT:
            return
        with path.open("r+b") as file:
            file.seek(-LOG_KEPT, 2)
            newest = file.read()
            file.truncate(0)
        with path.open("ab") as file:
            file.write(newest[newest.find(b"\n") + 1 :])
    except FileNotFoundError:
        return
