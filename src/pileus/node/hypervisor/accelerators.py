"""Decides between KVM and TCG by trying: /dev/kvm may open and yet hang every guest, so a tiny guest is booted under a time limit.

The answer is kept in the state directory for the life of the host's boot.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pileus.model.base import Model
from pileus.model.hosts import Capability

SECONDS = 8.0
"""How long the Linux guest may take; under working KVM it takes half a second."""
SILENCE = 4.0
"""How long it may take to its first byte, which is a quarter of a second under working KVM."""
SECTOR_SECONDS = 4.0
PASSED = "pileus-probe-ok"
KVM = Path("/dev/kvm")

# mov dx, 0xf4; mov al, 0x10; out dx, al; hlt; jmp $-1: asks QEMU's debug port to exit with status 0x10 * 2 + 1.
_SECTOR = bytes.fromhex("baf400b010eef4ebfd").ljust(510, b"\0") + b"\x55\xaa"
_SECTOR_STATUS = 33
_NO_QEMU = "KVM not probed: QEMU is not installed"
_NO_IMAGE = "KVM not probed: there is no probe image yet"


class ProbeImage(Model, frozen=True, kw_only=True):
    """A kernel and initrd that, told `pileus.probe`, print `pileus-probe-ok` on the first serial port."""

    kernel: str
    initrd: str


FindProbeImage = Callable[[], ProbeImage | None]


class Accelerator(Model, frozen=True, kw_only=True):
    """What guests of this host run on, and why."""

    name: str  # kvm, tcg
    reason: str
    final: bool = True  # False: what it takes to be sure was not there yet


class _Kept(Model, frozen=True, kw_only=True):
    boot: str
    accelerator: Accelerator


def built_probe_image() -> ProbeImage | None:
    """Our guest image's kernel, once it has been built."""
    from pileus.guest import build  # imported late: most starts find the answer kept

    image = build.cached(build.default_cache())
    return ProbeImage(kernel=str(image.kernel), initrd=str(image.initrd)) if image else None


async def find_accelerator(state: Path, find_image: FindProbeImage, refresh: bool = False) -> Accelerator:
    """The host's accelerator: as found earlier in this boot, else tried now. Some eight seconds where KVM hangs."""
    kept = None if refresh else _read(state / "accelerator.json")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if kept and kept.boot == boot and kept.accelerator.final:
        return kept.accelerator
    image = await asyncio.to_thread(find_image)
    if kept and kept.boot == boot and image is None:
        return kept.accelerator
    accelerator = await _try(image)
    state.mkdir(parents=True, exist_ok=True)
    path = state / "accelerator.json"
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(_Kept(boot=boot, accelerator=accelerator)))
    partial.rename(path)
    return accelerator


def kvm_groups() -> list[int] | None:
    """The groups that a guest's user must be in to use KVM; None when only root may."""
    try:
        about = KVM.stat()
    except OSError:
        return None
    if about.st_mode & (stat.S_IROTH | stat.S_IWOTH) == stat.S_IROTH | stat.S_IWOTH:
        return []
    if about.st_mode & (stat.S_IRGRP | stat.S_IWGRP) == stat.S_IRGRP | stat.S_IWGRP:
        return [about.st_gid]
    return None


async def examine_accelerators(state: Path, refresh: bool = False) -> list[Capability]:
    """The line of `doctor`. TCG is slower by far but complete, so KVM is not required."""
    accelerator = await find_accelerator(state, built_probe_image, refresh)
    works = accelerator.name == "kvm"
    remedy = "enable hardware (or nested) virtualization for this machine; guests run on TCG, 10 to 50 times slower, until then"
    if "can't be opened" in accelerator.reason:
        remedy = "run as root, or as a user in the group of /dev/kvm"
    elif accelerator.reason == _NO_QEMU:
        remedy = "apt-get install qemu-system-x86"
    elif accelerator.reason == _NO_IMAGE:
        remedy = "./pileus image build, then ask again"
    elif "chgrp kvm" in accelerator.reason:
        remedy = "chgrp kvm /dev/kvm && chmod 660 /dev/kvm"
    return [Capability(name="kvm", works=works, detail=accelerator.reason, remedy="" if works else remedy)]


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return None


async def _try(image: ProbeImage | None) -> Accelerator:
    why_not = await _kvm_fails(image)
    if why_not:
        return Accelerator(name="tcg", reason=why_not, final=why_not not in (_NO_IMAGE, _NO_QEMU))
    if os.geteuid() == 0 and kvm_groups() is None:
        reason = (
            "KVM works, but only root may use /dev/kvm and guests don't run as root; chgrp kvm /dev/kvm and chmod 660 /dev/kvm let them"
        )
        return Accelerator(name="tcg", reason=reason)
    return Accelerator(name="kvm", reason="KVM probe: a Linux guest booted")


async def _kvm_fails(image: ProbeImage | None) -> str:
    """Why KVM is not to be used; empty when it is."""
    if not KVM.exists():
        return "KVM probe: there is no /dev/kvm, so this machine offers no hardware virtualization"
    try:
        os.close(os.open(KVM, os.O_RDWR))
    except OSError as error:
        return f"KVM probe: /dev/kvm can't be opened ({error.strerror})"
    if shutil.which(_QEMU[0]) is None:
        return _NO_QEMU
    if image is not None:
        return await _linux_fails(image)
    status, said = await _boot_sector()
    if status != _SECTOR_STATUS:
        return f"KVM probe: /dev/kvm opens, but {'nine bytes of code did not run' if status is None else 'QEMU failed'}{said}"
    return _NO_IMAGE


async def _boot_sector() -> tuple[int | None, str]:
    """What can be tried without an image: whether any code runs at all."""
    with tempfile.NamedTemporaryFile(prefix="pileus-probe-") as file:
        file.write(_SECTOR)
        file.flush()
        drive = [
            "-drive",
            f"file={file.name},format=raw,if=ide,read-only=off,snapshot=on",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=4",
        ]
        status, out, error = await _run([*_QEMU, "-machine", "pc", "-m", "16", *drive], SECTOR_SECONDS, None)
    del out
    last = error.strip().splitlines()[-1:] if status not in (None, _SECTOR_STATUS) else []
    return status, f": {last[0]}" if last else f" within {SECTOR_SECONDS:.0f} s" if status is None else ""


async def _linux_fails(image: ProbeImage) -> str:
    boot = ["-kernel", image.kernel, "-initrd", image.initrd, "-append", "console=ttyS0 panic=-1 pileus.probe"]
    started = time.monotonic()
    status, out, error = await _run([*_QEMU, "-machine", "q35", "-m", "256", "-serial", "stdio", "-no-reboot", *boot], SECONDS, PASSED)
    if PASSED in out:
        return ""
    took = time.monotonic() - started
    if status is None:
        return f"KVM probe: /dev/kvm opens, but a Linux guest did not boot within {took:.0f} s (it printed {len(out)} bytes)"
    last = error.strip().splitlines()[-1:]
    return f"KVM probe: QEMU ended with status {status} after {took:.1f} s{': ' + last[0] if last else ''}"


_QEMU = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-accel", "kvm", "-cpu", "host", "-display", "none"]


async def _run(argv: list[str], seconds: float, until: str | None) -> tuple[int | None, str, str]:
    """(exit status or None when it took too long, standard output, standard error); ends early when `until` was printed."""
    bounded = ["timeout", "-s", "KILL", str(seconds + 2), *argv]  # it must end even if we are killed meanwhile
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*bounded, start_new_session=True, stdin=null, stdout=pipe, stderr=pipe)
    except OSError as error:
        return -1, "", f"{argv[0]}: {error.strerror}"
    assert process.stdout and process.stderr
    errors = asyncio.ensure_future(process.stderr.read())
    out = b""
    try:
        async with asyncio.timeout(min(seconds, SILENCE)) as limit:
            while part := await process.stdout.read(4096):
                if not out:
                    limit.reschedule(asyncio.get_running_loop().time() + seconds - SILENCE)
                out += part
                if until and until.encode() in out:
                    break
            else:
                await process.wait()
    except TimeoutError:
        pass
    finally:  # also when we are cancelled
        status = process.returncode
        if status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    return status, out.decode(errors="replace"), (await errors).decode(errors="replace")
