"""Guests of network tests: a namespace with a NIC each, joined to a port's tap by passing frames between two descriptors."""

import os
import secrets
import select
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pileus.node.network import namespaces, taps

LEASE_SCRIPT = """#!/bin/busybox sh
case "$1" in
bound|renew)
  ip -4 addr flush dev "$interface"
  ip addr add "$ip/$mask" dev "$interface"
  [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
  if [ -n "$staticroutes" ]; then
    set -- $staticroutes
    while [ $# -ge 2 ]; do ip route replace "$1" via "$2" dev "$interface" onlink; shift 2; done
  elif [ -n "$router" ]; then
    ip route replace default via $router
  fi
  env > "$LEASE_FILE"
  ;;
esac
"""

# Ask for an address by DHCPv6 and take it (RFC 8415: Solicit, then Request with what was advertised; the IA Address in the reply).
LEASE6 = """
import socket, struct, sys
def option(kind, body):
    return struct.pack("!HH", kind, len(body)) + body
def options(message):
    found = {}
    while len(message) >= 4:
        kind, length = struct.unpack("!HH", message[:4])
        found[kind], message = message[4:4 + length], message[4 + length:]
    return found
def ask(kind, *more):
    s.sendto(bytes([kind, 0, 0, 7]) + b"".join([option(1, duid), *more, option(8, bytes(2))]), ("ff02::1:2", 547, 0, nic))
    return options(s.recv(1000)[4:])
duid = struct.pack("!HH", 3, 1) + bytes.fromhex(sys.argv[1].replace(":", ""))
nic = socket.if_nametoindex("eth0")
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(1)
s.bind(("::", 546))
offer = ask(1, option(3, struct.pack("!III", 1, 0, 0)))
taken = options(ask(3, option(2, offer[2]), option(3, offer[3]))[3][12:]).get(5)
print(socket.inet_ntop(socket.AF_INET6, taken[:16]) if taken else "none")
"""


class Guest:
    """A machine as the network sees it: whatever its namespace sends leaves by the port's tap."""

    def __init__(self, open_tap: Callable[[], int], mac: str, scratch: Path) -> None:
        self.namespace = f"plt-{secrets.token_hex(4)}"
        self.mac = mac
        self.scratch = scratch
        namespaces.create(self.namespace)
        self._port = open_tap()
        self._nic = namespaces.inside(self.namespace, lambda: taps.open_descriptor("eth0"))
        self.run("ip", "link", "set", "eth0", "address", mac)
        namespaces.inside(self.namespace, lambda: Path("/proc/sys/net/ipv6/conf/eth0/dad_transmits").write_text("0"))
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", "eth0", "up")
        self._stop_reading, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._pass_frames, daemon=True)
        self._thread.start()
        self._processes: list[subprocess.Popen[str]] = []
        self._speaker: subprocess.Popen[str] | None = None
        assert eventually(self._has_link_local), "the kernel gives the NIC its link-local address a moment after it is up"

    def plug(self, open_tap: Callable[[], int]) -> None:
        """Go on at another port, as a guest does that was moved: whatever runs in it notices nothing."""
        os.write(self._stop, b"x")
        self._thread.join()
        os.read(self._stop_reading, 1)
        os.close(self._port)
        self._port = open_tap()
        self._thread = threading.Thread(target=self._pass_frames, daemon=True)
        self._thread.start()

    def run(self, *command: str, check: bool = True, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def serve(self, *command: str) -> subprocess.Popen[str]:
        """Run a server in the guest until the guest is closed."""
        process = subprocess.Popen(["ip", "netns", "exec", self.namespace, *command], text=True, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        self._processes.append(process)
        return process

    def answers_on(self, port: int, text: str = "hello", kind: str = "TCP4-LISTEN") -> None:
        """Answer every connection to a port with a text."""
        program = (
            "import socket,threading\n"
            f"family = socket.AF_INET6 if {kind.endswith('6-LISTEN')!r} else socket.AF_INET\n"
            f"s = socket.create_server(('', {port}), family=family)\nprint('ready', flush=True)\n"
            "def talk(c, a):\n"
            f"    c.sendall((a[0] + ' {text}\\n').encode())\n"
            "    while data := c.recv(100): c.sendall(data)\n"
            "while True: threading.Thread(target=talk, args=s.accept(), daemon=True).start()\n"
        )
        process = self.serve("python3", "-c", program)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"

    def says_later_on(self, port: int) -> None:
        """Answer one connection to a port with hello, and say something more at `speak`."""
        program = (
            f"import socket\ns = socket.create_server(('', {port}))\nprint('ready', flush=True)\n"
            "c, _ = s.accept()\nc.sendall(b'hello\\n')\ninput()\nc.sendall(b'later\\n')\ninput()\n"
        )
        self._speaker = subprocess.Popen(["ip", "netns", "exec", self.namespace, "python3", "-c", program], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        self._processes.append(self._speaker)
        assert self._speaker.stdout is not None and self._speaker.stdout.readline() == "ready\n"

    def speak(self) -> None:
        """Have the program of `says_later_on` say more."""
        assert self._speaker is not None and self._speaker.stdin is not None
        self._speaker.stdin.write("\n")
        self._speaker.stdin.flush()

    def connects(self, address: str, port: int, timeout: float = 2.0) -> str:
        """What a server says first; empty when no connection comes about."""
        return connect(["ip", "netns", "exec", self.namespace], address, port, timeout)

    def pings(self, address: str, count: int = 1, wait: int = 2) -> bool:
        """Whether an echo comes back."""
        return self.run("busybox", "ping", "-c", str(count), "-W", str(wait), address, check=False).returncode == 0

    def static(self, address: str, gateway: str = "") -> None:
        """Take an address without asking DHCP."""
        self.run("ip", "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        if gateway:
            self.run("ip", *(["-6"] if ":" in gateway else []), "route", "replace", "default", "via", gateway)

    def lease(self, attempts: int = 4) -> dict[str, str]:
        """Ask for a DHCP lease, take it, and return what was offered; empty when nobody answers."""
        script, result = self.scratch / f"{self.namespace}.sh", self.scratch / f"{self.namespace}.lease"
        script.write_text(LEASE_SCRIPT.replace("$LEASE_FILE", str(result)))
        script.chmod(0o755)
        command = ["busybox", "udhcpc", "-f", "-q", "-n", "-t", str(attempts), "-T", "1", "-i", "eth0", "-s", str(script), "-O", "mtu",
                   "-O", "staticroutes", "-O", "search"]  # fmt: skip
        if self.run(*command, check=False).returncode != 0:
            return {}
        return dict(line.split("=", 1) for line in result.read_text().splitlines() if "=" in line)

    def lease6(self) -> str:
        """The address that DHCPv6 gives; empty when nobody answers, "none" when there is none."""
        return self.run("python3", "-c", LEASE6, self.mac, check=False).stdout.strip()

    def close(self) -> None:
        """Switch off and leave nothing."""
        for process in self._processes:
            process.kill()
            process.wait()
        os.write(self._stop, b"x")
        self._thread.join()
        for descriptor in (self._port, self._nic, self._stop, self._stop_reading):
            os.close(descriptor)
        namespaces.remove(self.namespace)

    def _has_link_local(self) -> bool:
        shown = self.run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "link").stdout
        return "inet6 fe80:" in shown and "tentative" not in shown

    def _pass_frames(self) -> None:
        other = {self._port: self._nic, self._nic: self._port}
        while True:
            ready = select.select([self._port, self._nic, self._stop_reading], [], [])[0]
            if self._stop_reading in ready:
                return
            for descriptor in ready:
                try:
                    os.write(other[descriptor], os.read(descriptor, 70000))
                except OSError:
                    continue  # a device that is down for a moment loses frames, as cables do


def connect(prefix: list[str], address: str, port: int, timeout: float) -> str:
    """Connect from where `prefix` runs commands; the first line that the server says."""
    program = (
        f"import socket\ns = socket.create_connection(({address!r}, {port}), timeout={timeout})\n"
        f"s.settimeout({timeout})\nprint(s.recv(100).decode().strip())"
    )
    done = subprocess.run([*prefix, "python3", "-c", program], capture_output=True, text=True, timeout=timeout + 10, check=False)
    return done.stdout.strip()


def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
