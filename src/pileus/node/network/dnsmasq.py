"""Run dnsmasq for a domain's networks: started in the namespace, told to read again, restarted, stopped; it outlives the control plane."""

import contextlib
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from pileus.core.dnsmasq import TAGGED, Instance
from pileus.model.errors import NodeFailed

START_TIMEOUT = 10.0
STOP_TIMEOUT = 3.0
RESOLV_CONFS = [Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf")]


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
    configuration = place + instance.configuration(str(path), _user(path))
    files = {"hosts": instance.hosts, "names": instance.names, "extra": instance.extra}
    tagged = TAGGED in _read(path / "hosts")
    rewritten = [_write(path / name, text) for name, text in files.items()]
    restart = _write(path / "conf", configuration) or (tagged and any(rewritten))
    pid = running(path)
    if pid is not None and not restart:
        if any(rewritten):
            os.kill(pid, signal.SIGHUP)
        return
    stop(path)
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
        (path / "conf").unlink(missing_ok=True)  # so that the next attempt starts it
        raise NodeFailed(f"dnsmasq did not start: {done.stderr.strip()[:500]}")


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
