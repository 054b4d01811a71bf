"""One life of a host's agent, in a process of its own that is killed before any numbered step.

A step is whatever the agent does to the world: a file opened for writing, renamed, linked or removed, a process started or signalled, a
change by netlink, a namespace, a tap, a QMP command, a reply, a report. They are found by Python's own audit hooks, so that what is added
to the agent later is numbered too. A life is a forked child that kills itself with SIGKILL; its QEMUs and dnsmasqs go on.
"""

import asyncio
import functools
import os
import pickle
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyroute2

from pileus.model.hosts import DriverCapabilities
from pileus.model.messages import NodeReply, NodeRequest
from pileus.model.routing import Uplink
from pileus.node.agent import Agent
from pileus.node.census import take
from pileus.node.hypervisor import accelerators
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.hypervisor.qmp import Qmp
from pileus.node.machine import SimulatedMachine
from pileus.node.network import conntrack, namespaces
from pileus.node.network.linux import LinuxNetwork
from pileus.node.storage.shared import SharedDisks

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
FILES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate")
OTHERS = ("subprocess.Popen", "os.kill", "os.killpg", "socket.bind", "fcntl.ioctl")
CHANGES = ("add", "del", "set", "replace", "change", "append")
LIFETIME = 120
"""Seconds after which a life that hangs is ended."""

Script = Callable[["Mortal"], Awaitable[Any]]


class Steps:
    """Numbers what is done from `arm` on, and kills this process before one of them (0: none)."""

    def __init__(self, fatal: int, tell: int) -> None:
        self.names: list[str] = []
        self._fatal = fatal
        self._tell = tell  # a descriptor that is there already, as opening one would be a step
        self._armed = False
        self._process = os.getpid()
        self._busy = threading.Lock()

    def arm(self) -> None:
        """From now on."""
        self._armed = True

    def rest(self) -> None:
        """What follows is not counted."""
        self._armed = False

    def reach(self, name: str) -> None:
        """A step is about to be done."""
        if not self._armed or os.getpid() != self._process:
            return
        with self._busy:
            self.names.append(name)
            if len(self.names) == self._fatal:
                self._armed = False
                os.write(self._tell, name.encode())
                os.kill(self._process, signal.SIGKILL)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of the interpreter."""
        if not self._armed:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and isinstance(flags, int) and flags & WRITES and os.fsdecode(path) != os.devnull:
                self.reach(f"open {os.fsdecode(path)}")
        elif event in FILES or event in OTHERS:
            self.reach(f"{event} {arguments[0]}")

    def before(self, name: str, function: Callable[..., Any], when: Callable[..., bool] = lambda *_, **__: True) -> Callable[..., Any]:
        """The function, which is a step."""

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            if when(*arguments, **named):
                self.reach(f"{name} {arguments[1] if len(arguments) > 1 else ''}")
            return function(*arguments, **named)

        return call

    def patch(self) -> None:
        """What the interpreter does not tell of."""
        sys.addaudithook(self.heard)
        Qmp.execute = self.before("qmp", Qmp.execute, lambda _, command, *__, **___: not command.startswith("query"))  # type: ignore[method-assign]
        conntrack._send = self.before("conntrack", conntrack._send)  # type: ignore[assignment]
        signal.pidfd_send_signal = self.before("signal", signal.pidfd_send_signal)  # type: ignore[assignment]
        real = pyroute2.IPRoute
        pyroute2.IPRoute = lambda *arguments, **named: _Netlink(real(*arguments, **named), self)  # type: ignore[assignment,misc]
        namespaces._libc = _Library(namespaces._libc, self)  # type: ignore[assignment]


class _Library:
    """The C library, as far as namespaces are made with it."""

    def __init__(self, real: Any, steps: Steps) -> None:
        self._real = real
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._real, name)

        def call(*arguments: Any) -> Any:
            if name != "setns":
                self._steps.reach(name)
            return function(*arguments)

        return call


class _Netlink:
    """A netlink session."""

    def __init__(self, real: Any, steps: Steps) -> None:
        self._real = real
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)

        def call(command: str, *arguments: Any, **named: Any) -> Any:
            if command in CHANGES:
                self._steps.reach(f"{name} {command} {named.get('ifname', '')}")
            return found(command, *arguments, **named)

        return call if name in ("link", "addr", "route", "rule") else found

    def __enter__(self) -> "_Netlink":
        self._real.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._real.__exit__(*error)


class Mortal:
    """An agent with the real drivers, in the process that is to be killed."""

    def __init__(self, node: "Node", steps: Steps) -> None:
        self.steps = steps
        network = LinuxNetwork(node.state, node.tag)
        shared = SharedDisks(node.shared, node.name) if node.shared else None
        self.driver = QemuDriver(node.state, node.tag, network.open_tap, find_probe_image=lambda: None, grace=0.0, shared=shared)
        self.driver.probe = _probe  # type: ignore[method-assign]
        self.network = network
        self.agent = Agent(node.name, [self.driver], network, SimulatedMachine(), address="")
        self.agent.shared_disks = shared is not None

    async def start(self) -> None:
        """Adopt what there is."""
        await self.agent.start(lambda _: self.steps.reach("report"))

    async def ask(self, request: NodeRequest) -> NodeReply:
        """As from the bus; that the reply is sent is a step."""
        reply = await self.agent.handle(request)
        self.steps.reach(f"reply to {type(request).__name__}")
        return reply


async def _probe(refresh: bool = False) -> DriverCapabilities:
    return DriverCapabilities(driver="qemu", hypervisor_type="QEMU", hypervisor_version=7_002_000, accelerator="tcg")


class Outcome:
    """How a life ended: `killed` before which step, or None, and then what its script returned and which steps it had."""

    def __init__(self, killed: str | None, result: Any = None, steps: list[str] | None = None) -> None:
        self.killed = killed
        self.result = result
        self.steps = steps or []


class Node:
    """A host: its directory, its tag, and what lives there between its agents' lives."""

    def __init__(self, scratch: Path, name: str = "a", shared: Path | None = None) -> None:
        self.name = name
        self.tag = secrets.token_hex(2)
        self.state = scratch / self.tag / "node"
        self.state.mkdir(parents=True)
        scratch.chmod(0o711)
        self.state.parent.chmod(0o711)
        self.shared = shared
        self.public = f"198.{18 + int(self.tag, 16) % 2}.{1 + int(self.tag, 16) % 250}"
        self.uplink = Uplink(name="public", addresses=[f"{self.public}.1/24"])

    def live(self, script: Script, fatal: int = 0, from_start: bool = False) -> Outcome:
        """Run a script in a new life, which ends before a step, or with the script. A failure of the script is the caller's."""
        notes = self.state.parent / f"life-{secrets.token_hex(4)}"
        descriptor = os.open(notes, os.O_RDWR | os.O_CREAT, 0o600)
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(LIFETIME)
                _lead(self, script, fatal, from_start, descriptor)
            finally:
                os._exit(70)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told = notes.read_bytes()
        os.close(descriptor)
        notes.unlink()
        if status == -signal.SIGKILL:
            return Outcome(told.decode())
        assert status == 0, f"{self.name} ended with {status}: {told.decode(errors='replace')}"
        result, steps = pickle.loads(told)
        return Outcome(None, result, steps)

    def census(self) -> Any:
        """What is on the host, by looking at it."""
        return take(self.state, self.tag)

    def daemons(self) -> dict[str, int]:
        """How many dnsmasqs run with each configuration of this host."""
        found: dict[str, int] = {}
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if Path(words[0]).name == "dnsmasq" and (own := [word for word in words if f"/{self.tag}/" in word]):
                found[own[0]] = found.get(own[0], 0) + 1
        return found


def _lead(node: Node, script: Script, fatal: int, from_start: bool, descriptor: int) -> None:
    accelerators.KVM = node.state / "no-kvm"
    steps = Steps(fatal, descriptor)

    async def main() -> None:
        mortal = Mortal(node, steps)
        if from_start:
            steps.arm()
        await mortal.start()
        steps.arm()
        result = await script(mortal)
        steps.rest()
        os.write(descriptor, pickle.dumps((result, steps.names)))
        os._exit(0)  # it never ends otherwise than by being killed

    try:
        steps.patch()
        asyncio.run(main())
    except BaseException:
        steps.rest()
        os.write(descriptor, traceback.format_exc().encode())
    os._exit(1)
