"""Debian's packages that pileus stands on: which are missing, what each is for, and their installation with progress.

Standard library only, and any Python 3.7: the launcher runs this before there is anything else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from pileus.cli.progress import Step, step

# Debian package -> the command or file that shows it is there, and what it is for.
HOST = {
    "qemu-system-x86": ("qemu-system-x86_64", "runs the servers"),
    "qemu-utils": ("qemu-img", "makes and converts disks"),
    "nftables": ("nft", "security groups, NAT and floating IPs"),
    "netbase": ("/etc/protocols", "names of protocols for nftables"),
    "dnsmasq-base": ("dnsmasq", "DHCP and DNS of the networks"),
    "iproute2": ("ip", "bridges, taps and network namespaces"),
    "openssh-client": ("ssh", "reaches the servers"),
    "mtools": ("mcopy", "builds the guest image"),
    "syslinux": ("syslinux", "builds the guest image"),
    "zstd": ("zstd", "builds the guest image"),
    "e2fsprogs": ("mkfs.ext4", "builds the guest image and ephemeral disks"),
    "util-linux": ("setpriv", "runs each guest as a user of its own"),
    "kmod": ("modprobe", "loads the network filter's kernel modules"),
    "procps": ("sysctl", "sets kernel parameters"),
}
CLUSTER = {
    "postgresql": ("pg_ctlcluster", "keeps the records of a cloud of many hosts"),
    "nats-server": ("nats-server", "carries the messages between its processes"),
}
TESTS = {
    "busybox": ("busybox", "plays the guests in tests of networks"),
    "slapd": ("slapd", "is the directory in tests of domains in LDAP"),
    **CLUSTER,
}
SYSTEM_PATH = ":/usr/local/sbin:/usr/sbin:/sbin"
STOPPABLE: list[subprocess.Popen[Any]] = []  # what may be ended at any moment; dpkg at work is not here


class Stop(Exception):
    """What is wrong and what to do, in one line."""


def environment() -> dict[str, str]:
    """Our environment, with nothing that asks questions or waits for long."""
    quiet = {
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    path = {"PATH": os.environ.get("PATH", "/usr/bin:/bin") + SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
    return {"UV_NATIVE_TLS": "1", "UV_HTTP_TIMEOUT": "30", "PIP_RETRIES": "1", **os.environ, **quiet, **path}


def run(command: list[str], why: str, cwd: str | None = None) -> str:
    """A command's output; Stop with its own reason when it fails."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", env=environment(), cwd=cwd,
    )  # fmt: skip
    STOPPABLE.append(process)
    output, _ = process.communicate()
    STOPPABLE.remove(process)
    if process.returncode:
        raise Stop(f"{why}: {reason(output)}")
    return output


def reason(output: str) -> str:
    """The line of a failed command's output that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("E: ", "W: Failed", "ERROR: ", "error: ", "Error: ", "dpkg: error"))]
    return (telling or lines or ["it said nothing"])[0][:300].rstrip(".")


class Debian:
    """apt, in a thread of its own beside the Python environment's."""

    def __init__(self) -> None:
        self.lists = threading.Event()  # apt has lists of packages, or never will

    def missing(self, command: str, many_hosts: bool = False) -> dict[str, str]:
        """What a command needs from Debian and this machine does not have: package -> what for."""
        needed = {**HOST, **TESTS} if command == "test" else {**HOST, **CLUSTER} if many_hosts else HOST
        return {name: why for name, (proof, why) in needed.items() if not present(proof)}

    def install(self, packages: dict[str, str]) -> None:
        """Install packages: name -> what it is for."""
        try:
            if packages:
                self._check(packages)
                with step("Debian packages") as current:
                    self._install(packages, current)
                    names = list(packages)
                    current.note(", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else ""))
        finally:
            self.lists.set()

    def _check(self, packages: dict[str, str]) -> None:
        listing = ", ".join(f"{name} ({why})" for name, why in packages.items())
        if not shutil.which("apt-get"):
            raise Stop(f"these packages are missing, and this is no Debian or Ubuntu; install them by hand: {listing}")
        if os.geteuid() != 0:
            raise Stop(f"these packages are missing: {listing}. Install them: sudo apt-get install {' '.join(packages)}")

    def _install(self, packages: dict[str, str], current: Step) -> None:
        if not self._known(list(packages)):
            self._update(current, packages)
        self.lists.set()
        output = self._apt(["install", *packages], current)
        if output is not None and "dpkg --configure -a" in output:  # an earlier installation was cut short
            current.note("finishing an earlier installation")
            subprocess.run(
                ["dpkg", "--configure", "-a"], stdin=subprocess.DEVNULL, capture_output=True, env=environment(), start_new_session=True
            )
            output = self._apt(["install", *packages], current)
        elif output is not None:  # the lists may be old
            self._update(current, packages)
            output = self._apt(["install", *packages], current)
        if output is not None:
            self._give_up("apt-get install failed", output, packages)

    def _give_up(self, what: str, output: str, packages: dict[str, str]) -> None:
        listing = ", ".join(f"{name} ({why})" for name, why in packages.items())
        raise Stop(f"{what}: {reason(output)}. Needed are {listing}. Check network and apt's sources, then run this again")

    def _known(self, names: list[str]) -> bool:
        policy = subprocess.run(
            ["apt-cache", "policy", *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
        )
        return policy.stdout.count("Candidate: ") - policy.stdout.count("Candidate: (none)") >= len(names)

    def _update(self, current: Step, packages: dict[str, str]) -> None:
        current.note("lists of packages")
        output = self._apt(["-o", "Acquire::Languages=none", "-o", "APT::Get::List-Cleanup=0", "update"], current)
        if output is not None:
            self._give_up("apt-get update failed", output, packages)

    def _apt(self, arguments: list[str], current: Step) -> str | None:
        """Run apt-get and show its progress; its output when it failed, else None."""
        read, write = os.pipe()
        options = [
            "-q",
            "-y",
            "--no-install-recommends",
            "-o",
            "DPkg::Lock::Timeout=120",
            "-o",
            "Acquire::Retries=1",
            "-o",
            f"APT::Status-Fd={write}",
        ]
        with tempfile.TemporaryFile("w+", errors="replace") as output, os.fdopen(read, errors="replace") as status:
            process = subprocess.Popen(
                ["apt-get", *options, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=environment(), pass_fds=[write], start_new_session=True,
            )  # fmt: skip
            os.close(write)
            STOPPABLE.append(process)
            for line in status:
                kind, _, rest = line.partition(":")
                part, _, text = rest.partition(":")[2].partition(":")
                if kind == "pmstatus" and process in STOPPABLE:
                    STOPPABLE.remove(process)
                if kind in ("dlstatus", "pmstatus") and part.replace(".", "").isdigit():
                    share = float(part) / 100
                    current.progress(share * 0.3 if kind == "dlstatus" else 0.3 + share * 0.7, text.strip())
            failed = process.wait() != 0
            if process in STOPPABLE:
                STOPPABLE.remove(process)
            output.seek(0)
            said = output.read()
        return said if failed or "Some index files failed to download" in said else None


def present(proof: str) -> bool:
    """Whether a command, or a file, is on this machine."""
    if proof.startswith("/"):
        return Path(proof).exists()
    return shutil.which(proof, path=os.environ.get("PATH", "/usr/bin:/bin") + SYSTEM_PATH) is not None
