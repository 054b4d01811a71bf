"""A real cloud for tests: started by the command that users type, on a state directory and port of its own."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openstack

LAUNCHER = Path(__file__).parents[2] / "pileus"


class RealCloud:
    """What `pileus --state STATE up` made. Everything in it is reached as a user would reach it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"

    def pileus(self, *arguments: str, timeout: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `pileus --state STATE ...`; its output is in the failure."""
        command = [str(LAUNCHER), "--state", str(self.state), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}\n{self.log()}")
        return done

    def log(self) -> str:
        """The end of the control plane's log."""
        file = self.state / "log" / "pileus.log"
        return "\n".join(file.read_text().splitlines()[-40:]) if file.exists() else ""

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Start it and return when it is ready."""
        return self.pileus("up", "--detach", "--listen", self.listen, *options)

    def connect(self, name: str = "pileus") -> Any:
        """openstacksdk, as released, with the clouds.yaml that `up` wrote."""
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(self.state / "clouds.yaml")
        return openstack.connect(cloud=name)

    def pid(self) -> int:
        """The control plane's process."""
        return int((self.state / "pid").read_text())

    def ssh(self, address: str, command: str, timeout: float = 60) -> str:
        """What a command says inside a server; waits until ssh answers."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
        argv = ["ssh", "-i", str(self.state / "demo_ed25519"), *options, "-o", "ConnectTimeout=10", f"pileus@{address}", command]
        deadline = time.monotonic() + timeout
        while True:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout + 30)
            if done.returncode != 255:
                return done.stdout.strip()
            assert time.monotonic() < deadline, f"no ssh at {address}: {done.stderr}\n{self.log()}"
            time.sleep(0.5)

    def verify(self) -> None:
        """The invariants hold."""
        done = self.pileus("verify", check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def until(condition: Callable[[], Any], timeout: float = 60, what: str = "the condition") -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout:g} s"
        time.sleep(0.1)


def boots(connection: Any, name: str, network: str, **more: Any) -> Any:
    """A small server of the guest image, once it is ACTIVE."""
    image = connection.image.find_image("pileus-guest")
    flavor = connection.compute.find_flavor("m1.nano")
    server = connection.compute.create_server(name=name, image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network}], **more)
    return connection.compute.wait_for_server(server, wait=120)


def ready(connection: Any, server: Any, timeout: float = 120) -> str:
    """The server's console log once its guest says that it is ready."""

    def log() -> str:
        text = connection.compute.get_server_console_output(server.id)["output"]
        return text if "pileus-guest: ready" in text else ""

    return until(log, timeout, f"the guest of {server.name} being ready")


def gone(connection: Any, server: Any, timeout: float = 60) -> None:
    """Delete a server and wait until it is not found."""
    connection.compute.delete_server(server.id, ignore_missing=True)
    until(lambda: connection.compute.find_server(server.id, ignore_missing=True) is None, timeout, f"{server.name} being gone")
