"""`up --hosts N`: a cluster on one machine. Each host is an agent of its own in its own network namespace, with its own state directory.

Two bridges of the machine join them: `under`, by which agents, bus and VXLAN speak, and `ext`, which is the public network. What is
here is a data centre in small: hosts know nothing of each other's files but the directory of shared disks.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pileus.cli.daemons import Nats, Postgresql, command_line, database_url, wait_for
from pileus.cli.progress import step
from pileus.cli.public_network import routed
from pileus.cli.separation.ownership import bus_user_of, user_of
from pileus.cli.serve import read_pid
from pileus.cli.settings import remember
from pileus.config import Config
from pileus.core.network_names import uplink_bridge
from pileus.model.errors import Invalid, Unavailable
from pileus.model.routing import Uplink

if TYPE_CHECKING:
    from pileus.bus.authority import BusAuthority
    from pileus.cli.client import Api
    from pileus.node.network.uplinks import Uplinks

BUS_PORT = 4222
EXTERNAL = "ext0"
SILENCE = 15.0
"""Seconds without a report after which a host of such a cluster is down."""


def settings(config: Config, hosts: int) -> Config:
    """The settings of such a cloud: everything lies on this machine."""
    done = subprocess.run(["ip", "-json", "route", "show", "table", "all"], capture_output=True, text=True, check=True)
    used = [one for one in routed(json.loads(done.stdout or "[]")) if one.prefixlen > 8]
    start = int(config.tag, 16) % 256
    ranges = [ipaddress.IPv4Network(f"10.213.{(start + number) % 256}.0/24") for number in range(256)]
    free = next((one for one in ranges if not any(one.overlaps(other) for other in used)), None)
    if free is None:
        raise Invalid("No range below 10.213.0.0/16 is free on this machine for the network between the hosts.")
    port = config.listen.rpartition(":")[2]
    fence = shlex.join([sys.executable, "-m", "pileus.cli.main", "--state", str(config.directory), "host", "fence"])
    return msgspec.structs.replace(
        config, hosts=hosts, database=database_url(config.directory), bus=f"tls://{free[1]}:{BUS_PORT}", host_listen=f"{free[1]}:{port}",
        physical_networks={"public": EXTERNAL}, node_silence=SILENCE, evacuate="all",
        fencing={"*": f"command:{fence}"},
    )  # fmt: skip


class LocalCluster:
    """The hosts, bridges and daemons of one state directory. Every verb may be repeated."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.tag = config.tag
        self.hosts = [f"h{number}" for number in range(1, config.hosts + 1)]
        address = str(config.host_listen).rpartition(":")[0]
        self.range = ipaddress.IPv4Network(f"{address}/24", strict=False)
        self.postgresql = Postgresql(config.directory, user_of(config))
        self.nats = Nats(config.directory, f"{address}:{BUS_PORT}", bus_user_of(config))

    def prepare(self) -> None:
        """Networks, daemons, and the directories in whose place nobody else may put one, before the managers start."""
        for name in ("hosts", "shared"):
            (self.config.directory / name).mkdir(mode=0o711, exist_ok=True)
        with step("Networks") as current:
            self._bridges()
            for number, host in enumerate(self.hosts, 1):
                self.connect(number, host)
            current.note(f"{len(self.hosts)} hosts in namespaces, {self.range} between them")
        with step("PostgreSQL") as current:
            current.note(self.postgresql.start())
        with step("NATS") as current:
            current.note(f"{self.nats.start(*self._bus())}, tls://{self.nats.listen}")

    def forget(self, host: str) -> None:
        """A host was removed: the bus is shut to it. The next `up` lets it join anew."""
        self.nats.configure(*self._bus())
        if host in self.hosts:
            (self.directory(host) / "secrets" / "node.json").unlink(missing_ok=True)

    def _bus(self) -> "tuple[BusAuthority, dict[str, int]]":
        from pileus.cli.bus import found

        return asyncio.run(found(self.config))

    def start_hosts(self) -> None:
        """Start the agents that do not run; returns when all have reported."""
        from pileus.cli.client import Api

        api = Api(self.config, "admin", "admin")
        with step("Hosts") as current:
            for host in self.hosts:
                if read_pid(self.directory(host)) is None:
                    self.start(host, api)
                current.note(host)

            def silent() -> list[str]:
                found = {one["name"]: one["state"] for one in api.get("/cluster/v1/hosts")["hosts"]}
                return [host for host in self.hosts if found.get(host) != "up"]

            wait_for(lambda: not silent(), f"Hosts did not report: {', '.join(self.hosts)}; see {self.config.directory}/hosts/*/log")
            current.note(", ".join(self.hosts))

    def stop(self) -> None:
        """Stop agents, bus and database; guests go on."""
        from pileus.cli.down import stop

        for host in self.hosts:
            stop(self.directory(host))
        self.nats.stop()
        self.postgresql.stop()

    def destroy(self) -> None:
        """Remove guests, namespaces, bridges."""
        for host in self.hosts:
            self.remove(host)
        self.uplinks().remove()

    def remove(self, host: str) -> None:
        """Remove a host's guests, its namespace and its state."""
        if (self.directory(host) / "config.json").exists() and self.namespace(host) in _namespaces():
            self._inside(host, "down", "--destroy", "--yes")
        _quiet("ip", "netns", "del", self.namespace(host))

    def directory(self, host: str) -> Path:
        """A host's own state directory."""
        return self.config.directory / "hosts" / host

    def namespace(self, host: str) -> str:
        """A host's network namespace."""
        return f"pileus-{self.tag}-{host}"

    def pids(self, host: str) -> list[int]:
        """Every process of a host: its agent and its guests."""
        done = subprocess.run(["ip", "netns", "pids", self.namespace(host)], capture_output=True, text=True, check=False)
        return [int(word) for word in done.stdout.split() if command_line(int(word))]

    # -- networks --------------------------------------------------------------------------------------------------------------------

    def uplinks(self) -> "Uplinks":
        """The machine's bridges of this cluster."""
        from pileus.node.network.uplinks import Uplinks

        return Uplinks(self.config.directory / "fabric", self.tag)

    def _bridges(self) -> None:
        public = ipaddress.IPv4Network(self.config.public_cidr or "172.24.4.0/24")
        self.uplinks().apply([Uplink(name="ext", addresses=[f"{public[1]}/{public.prefixlen}"], masquerade=True)], set())
        under = uplink_bridge(self.tag, "under")  # not an uplink, from which this machine would be closed: API and bus are here
        if not Path(f"/sys/class/net/{under}").exists():
            _ip("link", "add", "name", under, "type", "bridge")
        _ip("address", "replace", f"{self.range[1]}/24", "dev", under)
        _ip("link", "set", under, "up")

    def connect(self, number: int, host: str) -> None:
        """A host's namespace, joined to both bridges. `number` is in its address."""
        name = self.namespace(host)
        if name not in _namespaces():
            _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
        present = subprocess.run(["ip", "-n", name, "-o", "link"], capture_output=True, text=True, check=True).stdout
        for device, network in (("eth0", "under"), (EXTERNAL, "ext")):
            peer = f"pv{self.tag}{host}{network[0]}"
            if f" {device}@" not in present:
                _quiet("ip", "link", "del", peer)
                _ip("link", "add", "name", peer, "type", "veth", "peer", "name", device, "netns", name)
            _ip("link", "set", peer, "master", uplink_bridge(self.tag, network), "up")
            _ip("-n", name, "link", "set", device, "up")
        _ip("-n", name, "address", "replace", f"{self.range[10 + number]}/24", "dev", "eth0")
        _ip("-n", name, "route", "replace", "default", "via", str(self.range[1]))

    # -- agents ----------------------------------------------------------------------------------------------------------------------

    def start(self, host: str, api: "Api", cluster: str = "default") -> None:
        """Start a host's agent; where it has not joined yet, it joins this cluster of the cloud."""
        directory = self.directory(host)
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        remember(directory, machine_shares=len(self.hosts))
        shared = self.config.directory / "shared"
        shared.mkdir(mode=0o711, exist_ok=True)
        arguments = ["serve", "--role", "node"]
        environment = {**os.environ, "PILEUS_HOST": host}
        if not (directory / "secrets" / "node.json").exists():
            environment["PILEUS_JOIN_TOKEN"] = api.post("/cluster/v1/tokens", {"lifetime": 600.0, "cluster": cluster})["token"]
            arguments += ["--join", "-", f"http://{self.config.host_listen}", "--shared-disks", str(shared)]
        with (directory.with_suffix(".output")).open("wb") as output:
            process = subprocess.Popen(
                self._command(host, *arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                start_new_session=True, cwd="/",
            )  # fmt: skip

        def started() -> bool:
            if process.poll() is not None:
                lines = (directory.with_suffix(".output")).read_text(errors="replace").strip().splitlines() or ["it gave no reason"]
                raise Unavailable(f"Host {host} did not start: {lines[-1].removeprefix('pileus: ')}")
            return (directory / "ready").exists()

        wait_for(started, f"Host {host} did not start; see {directory / 'log'}")

    def _inside(self, host: str, *arguments: str) -> None:
        done = subprocess.run(self._command(host, *arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"Host {host} could not be taken down: {done.stderr.strip()[-300:]}")

    def _command(self, host: str, *arguments: str) -> list[str]:
        """Without a mount namespace of its own, as `ip netns exec` would make: what it mounts is to be seen by all."""
        inside = ["nsenter", f"--net=/run/netns/{self.namespace(host)}"]
        return [*inside, sys.executable, "-m", "pileus.cli.main", "--state", str(self.directory(host)), *arguments]


def _namespaces() -> set[str]:
    with contextlib.suppress(OSError):
        return set(os.listdir("/run/netns"))
    return set()


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _quiet(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)
