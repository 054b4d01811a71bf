"""Run dnsmasq for a domain's networks: started in the namespace, told to read again, restarted, stopped; it outlives the control plane.

Beside its files lies `told`: what the running process knows. It is written last, so that whoever is killed on the way does all again.
"""

import contextlib
import hashlib
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
from ipaddress import ip_address
from pathlib import Path

import msgspec
from msgspec import json

from pileus.core.dnsmasq import TAGGED, Instance, owners
from pileus.model.base import Model
from pileus.model.errors import NodeFailed
from pileus.node.network.lease_release import release

START_TIMEOUT = 10.0
STOP_TIMEOUT = 3.0
RESOLV_CONFS = [Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf")]


class Told(Model, frozen=True, kw_only=True):
    """What the process `pid` was told: digests of its files, and who had which address since it started (it may have given a lease)."""

    pid: int = 0
    configuration: str
    files: str
    tagged: bool
    owners: dict[str, str]


def converge(directory: Path, wanted: list[Instance]) -> None:
    """Bring the instances below `directory` to what is wanted. In the thread that is inside the namespace."""
    names = {instance.name for instance in wanted}
    for path in sorted(directory.iterdir()) if directory.exists() else []:
        if path.name not in names:
            stop(path)
            shutil.rmtree(path, ignore_errors=True)
    for instance in wanted:
        _converge_one(directory / instance.name, instance)


def running(path: Path) -> int | None:
    """The process id of the instance in this directory, if it lives and is really it."""
    try:
        pid = int((path / "pid").read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if f"--conf-file={path / 'conf'}".encode() in arguments else None


def all_running(directory: Path, wanted: list[Instance]) -> bool:
    """Whether every instance runs."""
    return all(running(directory / instance.name) is not None for instance in wanted)


def stop(path: Path) -> None:
    """Stop the instance in this directory and wait until it is gone; fine when it is not running."""
    pid = running(path)
    if pid is None:
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if running(path) != pid:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if select.select([descriptor], [], [], STOP_TIMEOUT)[0]:
                break
    finally:
        os.close(descriptor)
    (path / "pid").unlink(missing_ok=True)


def host_resolvers() -> list[str]:
    """The host's own DNS servers, those behind a local stub where one is used."""
    for path in RESOLV_CONFS:
        with contextlib.suppress(OSError):
            lines = [line.split() for line in path.read_text().splitlines()]
            servers = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
            servers = [server for server in servers if not server.startswith("127.") and server != "::1" and "%" not in server]
            if servers:
                return servers
    return []


def _converge_one(path: Path, instance: Instance) -> None:
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Sockets are bound to the device as it is now: another one of the same name, or another namespace, needs a restart.
    place = f"# in {os.readlink('/proc/thread-self/ns/net')}, device {socket.if_nametoindex(instance.interface)}\n"
    files = {"hosts": instance.hosts, "names": instance.names, "extra": instance.extra}
    wanted = Told(
        configuration=_digest(place + instance.configuration(str(path), _user(path))), files=_digest("\0".join(files.values())),
        tagged=TAGGED in instance.hosts, owners=owners(instance.hosts),
    )  # fmt: skip
    pid = running(path)
    told = _told(path, pid)
    for name, text in files.items():
        _write(path / name, text)
    if pid is None or told is None or told.configuration != wanted.configuration:
        _start(path, instance, place)
    elif told.files != wanted.files:
        taken_over = {address: mac for address, mac in told.owners.items() if wanted.owners.get(address, mac) != mac}
        if told.tagged or any(ip_address(address).version == 6 for address in taken_over):
            _start(path, instance, place)
        else:
            for address, mac in taken_over.items():
                release(instance.interface, address, mac)
            os.kill(pid, signal.SIGHUP)
            wanted = msgspec.structs.replace(wanted, owners=told.owners | wanted.owners)
    else:
        return
    _write(path / "told", json.encode(msgspec.structs.replace(wanted, pid=running(path) or 0)).decode())


def _start(path: Path, instance: Instance, place: str) -> None:
    """Start it, or start it again: it forgets all leases, which costs nothing, for a guest that renews one is believed."""
    stop(path)
    _write(path / "conf", place + instance.configuration(str(path), _user(path)))
    try:
        done = subprocess.run(
            ["dnsmasq", f"--conf-file={path / 'conf'}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_TIMEOUT, check=False, start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise NodeFailed("dnsmasq is missing. Install it with: apt install dnsmasq-base") from None
    except subprocess.TimeoutExpired:
        raise NodeFailed("dnsmasq did not start in time.") from None
    if done.returncode != 0:
        raise NodeFailed(f"dnsmasq did not start: {done.stderr.strip()[:500]}")


def _told(path: Path, pid: int | None) -> Told | None:
    """What the process was told; None when it is another one, or when nobody came to writing it down."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        told = json.decode((path / "told").read_bytes(), type=Told)
        return told if told.pid == pid else None
    return None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _write(path: Path, text: str) -> bool:
    """Replace the file if its content differs."""
    if path.exists() and _read(path) == text:
        return False
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(0o644)
    temporary.replace(path)
    return True


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def _user(path: Path) -> str:
    """An unprivileged user who can read the files again after a SIGHUP; root where the way to them is closed to others."""
    if any(not parent.stat().st_mode & 0o001 for parent in [path, *path.parents]):
        return "root"
    for name in ("dnsmasq", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return "root"
