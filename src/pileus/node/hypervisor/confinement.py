"""Keeps a guest's QEMU in its place: a user id of its own, no privileges, and control groups (version 1 or 2) with its limits."""

import os
import subprocess
import time
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

from pileus.model.guests import Guest

FIRST_UID = 2_000_000_000
UIDS = 100_000_000
PERIOD = 100_000  # microseconds
OVERHEAD_MIB = 256
"""What QEMU itself may take beyond the guest's memory and TCG's buffer: video memory, block layer, threads' stacks."""
THREADS = 160
"""Beyond the virtual CPUs: QEMU's pool for disk I/O has 64, its main loop, migration and VNC some more."""

_CONTROLLERS = ("cpu", "memory", "pids")


def limits_of(guest: Guest, translation_mib: int) -> dict[str, dict[str, str]]:
    """What each controller is told, for version 1 and version 2 of control groups: {"v1": {file: value}, "v2": {...}}."""
    quota = int((guest.cpu_quota or guest.vcpus) * PERIOD)
    memory = str((guest.memory_mib + translation_mib + OVERHEAD_MIB) << 20)
    threads = str(guest.vcpus + THREADS)
    v1 = {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(quota), "memory.limit_in_bytes": memory, "pids.max": threads}
    v2 = {"cpu.max": f"{quota} {PERIOD}", "memory.max": memory, "pids.max": threads}
    if guest.cpu_shares:
        v1["cpu.shares"] = str(max(2, guest.cpu_shares))
        v2["cpu.weight"] = str(max(1, min(10000, 1 + (guest.cpu_shares - 2) * 9999 // 262142)))
    return {"v1": v1, "v2": v2}


class Confinement:
    """What of confinement this machine allows, and doing it. `root`: where control groups are mounted; `tag`: the cloud's."""

    def __init__(self, tag: str, root: Path = Path("/sys/fs/cgroup"), privileged: bool | None = None) -> None:
        self.privileged = os.geteuid() == 0 if privileged is None else privileged
        self._name = f"pileus-{tag}"
        self._groups = self._find(root) if self.privileged else {}

    @property
    def controllers(self) -> list[str]:
        """The controllers that can be used, as "cpu (v1)"."""
        return sorted(f"{name} ({version})" for name, (version, _) in self._groups.items())

    def describe(self) -> str:
        """One line for the host's capabilities."""
        if not self.privileged:
            return "guests run unconfined, as pileus was not started by root"
        missing = [name for name in _CONTROLLERS if name not in self._groups]
        text = f"own user id, seccomp, control groups: {', '.join(self.controllers) or 'none'}"
        return text + (f"; no limits of {', '.join(missing)}, as that controller can't be used here" if missing else "")

    def user_of(self, guest_id: str, taken: Collection[int]) -> int | None:
        """A user id for a new guest, other than those `taken`; None when not confined."""
        if not self.privileged:
            return None
        offset = int.from_bytes(sha256(guest_id.encode()).digest()[:8], "big") % UIDS
        while FIRST_UID + offset in taken:
            offset = (offset + 1) % UIDS
        return FIRST_UID + offset

    def prefix(self, user: int | None, groups: Collection[int] = ()) -> list[str]:
        """What goes before QEMU's argv, so that it never runs as root, and can't become it."""
        if user is None:
            return []
        supplementary = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
        ids = ["--reuid", str(user), "--regid", str(user), *supplementary]
        return ["setpriv", *ids, "--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all", "--"]

    def user_works(self) -> str:
        """Empty when programs can run as such users here, else what went wrong (a container may map no such ids)."""
        if not self.privileged:
            return ""
        try:
            done = subprocess.run([*self.prefix(FIRST_UID), "true"], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if done.returncode == 0 else done.stderr.strip()

    def limit(self, guest: Guest, translation_mib: int) -> list[str]:
        """Make the guest's control groups and set their limits; returns what the kernel refused."""
        refused: list[str] = []
        limits = limits_of(guest, translation_mib)
        for controller, (version, path) in self._groups.items():
            group = path / guest.id
            try:
                group.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                refused.append(f"{controller}: {error}")
                continue
            for file, value in limits[version].items():
                if file.startswith(controller + "."):
                    refused += _put(group / file, value)
        return refused

    def enter(self, guest_id: str, pid: int) -> list[str]:
        """Put a process, with its threads, into the guest's groups; returns what the kernel refused."""
        return [problem for group in self._paths(guest_id) if group.exists() for problem in _put(group / "cgroup.procs", str(pid))]

    def remove(self, guest_id: str, patience: float = 2.0) -> None:
        """Remove the guest's groups, and ours when it was the last. A group stays busy until its processes are reaped."""
        deadline = time.monotonic() + patience
        for group in self._paths(guest_id):
            while group.exists():
                try:
                    group.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.01)
        for _, path in set(self._groups.values()):
            try:
                path.rmdir()
            except OSError:  # other guests are in it, or it is gone
                pass

    def _paths(self, guest_id: str) -> set[Path]:
        return {path / guest_id for _, path in self._groups.values()}

    def _find(self, root: Path) -> dict[str, tuple[str, Path]]:
        """Controller -> (version, our directory in it); only those in which a group can really be made."""
        found: dict[str, tuple[str, Path]] = {}
        for controller in _CONTROLLERS:
            if (root / controller / "cgroup.procs").exists() and os.access(root / controller, os.W_OK):
                found[controller] = ("v1", root / controller / self._name)
        top = next((path for path in (root, root / "unified") if (path / "cgroup.controllers").exists()), None)
        if top:
            available = [name for name in (top / "cgroup.controllers").read_text().split() if name in _CONTROLLERS and name not in found]
            for controller in available:
                if self._delegate(top, controller):
                    found[controller] = ("v2", top / self._name)
        return found

    def _delegate(self, top: Path, controller: str) -> bool:
        """Version 2 hands a controller down only where each level above says so."""
        ours = top / self._name
        try:
            if controller not in (top / "cgroup.subtree_control").read_text().split():
                (top / "cgroup.subtree_control").write_text(f"+{controller}")
            ours.mkdir(exist_ok=True)
            (ours / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            return False
        return True


def _put(path: Path, value: str) -> list[str]:
    try:
        path.write_text(value)
    except OSError as error:
        return [f"{path.name}: {error.strerror}"]
    return []
