"""What a first cloud holds: image, flavors, the `public` network (as admin), then a network, router, key, group and server (as demo).

All of it through the public API, as any client would; whatever is there already is kept, so that it may run at every start.
"""

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pileus import durable
from pileus.cli.client import Api
from pileus.cli.credentials import write_private
from pileus.cli.progress import Step
from pileus.config import Config
from pileus.model.errors import NodeFailed

FLAVORS = [  # name, vcpus, MiB, GiB
    ("m1.nano", 1, 128, 1), ("m1.micro", 1, 256, 1), ("m1.tiny", 1, 512, 1), ("m1.small", 1, 2048, 20), ("m1.medium", 2, 4096, 40),
    ("m1.large", 4, 8192, 80), ("m1.xlarge", 8, 16384, 160),
]  # fmt: skip
IMAGE = "pileus-guest"
USER = "pileus"
EMPTY = 1 << 20  # bytes of a simulated guest's image


class Demo:
    """Prepares the cloud and its first server."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.admin = Api(config, "admin", "admin")
        self.demo = Api(config, "demo", "demo")
        self.key = config.directory / "demo_ed25519"

    def flavors(self) -> str:
        """The usual flavors, m1.nano to m1.xlarge; says which."""
        have = {one["name"] for one in self.admin.get("/compute/v2.1/flavors")["flavors"]}
        for number, (name, vcpus, ram, disk) in enumerate(FLAVORS, 1):
            if name not in have:
                flavor = {"name": name, "vcpus": vcpus, "ram": ram, "disk": disk, "id": str(number)}
                self.admin.post("/compute/v2.1/flavors", {"flavor": flavor})
        return f"{FLAVORS[0][0]} to {FLAVORS[-1][0]}"

    def image(self, disk: Path, step: Step, disk_format: str = "qcow2") -> None:
        """Upload the guest image, for everyone."""
        found = self.admin.get(f"/image/v2/images?name={IMAGE}&status=active")["images"]
        if found:
            step.note("was there")
            return
        fields = {"name": IMAGE, "disk_format": disk_format, "container_format": "bare", "visibility": "public", "min_ram": 96}
        image = self.admin.post("/image/v2/images", {**fields, "os_distro": "pileus", "default_user": USER})
        self.admin.upload(f"/image/v2/images/{image['id']}/file", disk, step.progress)
        step.note("for everyone")

    def empty_image(self, step: Step) -> None:
        """An image of zeros for simulated guests, under the name of the real one."""
        with tempfile.NamedTemporaryFile(prefix="pileus-") as file:
            file.truncate(EMPTY)
            self.image(Path(file.name), step, "raw")

    def public_network(self, cidr: str) -> None:
        """The external network, with the host itself as its gateway."""
        network = self._ensure(
            self.admin, "network", "networks",
            {"name": "public", "router:external": True, "provider:network_type": "flat", "provider:physical_network": "public"},
        )  # fmt: skip
        base = cidr.rpartition(".")[0]
        subnet = {"name": "public-subnet", "network_id": network["id"], "cidr": cidr, "ip_version": 4, "enable_dhcp": False}
        pools = [{"start": f"{base}.10", "end": f"{base}.250"}]
        self._ensure(self.admin, "subnet", "subnets", {**subnet, "gateway_ip": f"{base}.1", "allocation_pools": pools})

    def private_network(self) -> dict[str, Any]:
        """demo's network with a subnet, behind a router to `public`."""
        network = self._ensure(self.demo, "network", "networks", {"name": "private"})
        subnet = {"name": "private-subnet", "network_id": network["id"], "cidr": "10.0.0.0/24", "ip_version": 4}
        subnet = self._ensure(self.demo, "subnet", "subnets", subnet)
        public = self.demo.get("/network/v2.0/networks?name=public")["networks"][0]
        router = self._ensure(self.demo, "router", "routers", {"name": "router", "external_gateway_info": {"network_id": public["id"]}})
        ports = self.demo.get(f"/network/v2.0/ports?device_id={router['id']}&network_id={network['id']}")["ports"]
        if not ports:
            self.demo.call("PUT", f"/network/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
        return network

    def security_group(self) -> None:
        """A group that lets ssh and ping in."""
        group = self._ensure(self.demo, "security_group", "security-groups", {"name": "ssh", "description": "ssh and ping"})
        if not any(rule["direction"] == "ingress" for rule in group["security_group_rules"]):
            for rule in ({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}, {"protocol": "icmp"}):
                body = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4", **rule}
                self.demo.post("/network/v2.0/security-group-rules", {"security_group_rule": body})

    def keypair(self) -> None:
        """A key made on the spot; the private part never leaves this machine."""
        if not self.key.exists():
            private, public = new_key()
            durable.write(self.key.with_suffix(".pub"), public + b" pileus demo\n", 0o644)
            write_private(self.key, private.decode())
        owner = os.environ.get("SUDO_UID")
        if owner and os.geteuid() == 0:
            os.chown(self.key, int(owner), int(os.environ.get("SUDO_GID", owner)), follow_symlinks=False)
        have = {one["keypair"]["name"] for one in self.demo.get("/compute/v2.1/os-keypairs")["keypairs"]}
        if "demo" not in have:
            public = self.key.with_suffix(".pub").read_text().strip()
            self.demo.post("/compute/v2.1/os-keypairs", {"keypair": {"name": "demo", "public_key": public, "type": "ssh"}})

    def server(self, network: dict[str, Any]) -> dict[str, Any]:
        """The server `hello`."""
        found = self.demo.get("/compute/v2.1/servers/detail?name=%5Ehello%24")["servers"]
        if found:
            return found[0]
        image = self.demo.get(f"/image/v2/images?name={IMAGE}")["images"][0]
        flavors = {one["name"]: one["id"] for one in self.demo.get("/compute/v2.1/flavors")["flavors"]}
        body = {
            "name": "hello", "imageRef": image["id"], "flavorRef": flavors["m1.nano"], "key_name": "demo",
            "networks": [{"uuid": network["id"]}], "security_groups": [{"name": "ssh"}],
        }  # fmt: skip
        return self.demo.post("/compute/v2.1/servers", {"server": body})["server"]

    def floating_ip(self, server_id: str) -> str:
        """A floating IP for the server."""
        port = self.demo.get(f"/network/v2.0/ports?device_id={server_id}")["ports"][0]
        found = self.demo.get(f"/network/v2.0/floatingips?port_id={port['id']}")["floatingips"]
        if not found:
            public = self.demo.get("/network/v2.0/networks?name=public")["networks"][0]
            body = {"floatingip": {"floating_network_id": public["id"], "port_id": port["id"]}}
            found = [self.demo.post("/network/v2.0/floatingips", body)["floatingip"]]
        return str(found[0]["floating_ip_address"])

    def wait_active(self, server_id: str, step: Step, timeout: float = 180) -> dict[str, Any]:
        """The server once it runs; NodeFailed with its fault when it can't, or when it was stopped by its owner says so."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            server = self.demo.get(f"/compute/v2.1/servers/{server_id}")["server"]
            step.note(f"{server['status']} {server.get('OS-EXT-STS:task_state') or ''}".strip())
            if server["status"] == "ERROR":
                raise NodeFailed(f"The server hello failed: {server.get('fault', {}).get('message', 'no reason given')}")
            if server["status"] != "BUILD":
                return server
            time.sleep(0.1)
        raise NodeFailed(f"The server hello did not start within {timeout:g} s.")

    def wait_ssh(self, server_id: str, address: str, step: Step, timeout: float = 240) -> str:
        """Return when an ssh command succeeds in the server, or when that does not run any more; the server's status."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            step.note("waiting for the guest to boot")
            if _ssh_banner(address) and self._ssh_works(address):
                step.note(f"{USER}@{address} answers")
                return "ACTIVE"
            status = str(self.demo.get(f"/compute/v2.1/servers/{server_id}")["server"]["status"])
            if status != "ACTIVE":  # this host was restarted, say, and its first look has told so by now
                step.note(f"the server is {status}")
                return status
            time.sleep(0.25)
        raise NodeFailed(f"No ssh at {address} within {timeout:g} s; see: pileus openstack console log show hello")

    def ssh_command(self, address: str) -> list[str]:
        """The command that reaches the server."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        return ["ssh", "-i", str(self.key), *options, f"{USER}@{address}"]

    def _ssh_works(self, address: str) -> bool:
        command = self.ssh_command(address)
        command[1:1] = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        try:
            return subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=45).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _ensure(self, api: Api, one: str, many: str, fields: dict[str, Any]) -> dict[str, Any]:
        found = api.get(f"/network/v2.0/{many}?name={quote(fields['name'])}&project_id={self._project(api)}")[many.replace("-", "_")]
        return found[0] if found else api.post(f"/network/v2.0/{many}", {one: fields})[one]

    def _project(self, api: Api) -> str:
        if not hasattr(api, "project_id"):
            answer = api.call("GET", "/identity/v3/auth/tokens", headers={"X-Subject-Token": api.token or (api.login() or api.token) or ""})
            api.project_id = answer["token"]["project"]["id"]  # pyright: ignore[reportAttributeAccessIssue]
        return api.project_id  # pyright: ignore[reportAttributeAccessIssue]


def new_key() -> tuple[bytes, bytes]:
    """An Ed25519 key: private in OpenSSH's format, public as one line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return private, key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def _ssh_banner(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
