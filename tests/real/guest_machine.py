"""One QEMU guest for the tests of the guest image: emulated, in user mode networking, driven by QMP, ssh and its console log."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE = 300.0  # seconds for whatever is waited for; an emulated boot takes 4 on an idle machine

# Answers one HTTP request on standard input and output, from a directory: QEMU starts it for each connection to the metadata address.
SERVICE = """
import pathlib, sys
request = sys.stdin.buffer.readline().split()
while sys.stdin.buffer.readline().strip(): pass
path = pathlib.Path(sys.argv[1]) / request[1].decode().split("?")[0].strip("/")
with open(sys.argv[1] + "/requests", "a") as log: log.write(request[1].decode() + "\\n")
if path.is_dir(): path = path / "index"
body = path.read_bytes() if path.is_file() else b""
status = "200 OK" if path.is_file() else "404 Not Found"
sys.stdout.buffer.write(f"HTTP/1.0 {status}\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n".encode() + body)
"""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Ask until the answer is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} seconds: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """A running guest. `directory` holds its sockets, log and known hosts; `service` is the directory that answers for the metadata."""

    def __init__(self, directory: Path, disk: Path, *, key: Path, memory: int = 128) -> None:
        self.directory, self.disk, self.key, self.memory = directory, disk, key, memory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = 0
        self.started = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        path = self.directory / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *more: str, service: Path | None = None, machine_id: str = "00000000-0000-0000-0000-000000000001") -> None:
        """Power on; returns when QEMU runs."""
        (self.directory / "console.log").unlink(missing_ok=True)
        self.port = free_port()
        user = f"user,id=n0,net=169.254.169.0/24,host=169.254.169.2,dns=169.254.169.3,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        if service is not None:
            script = self.directory / "service.py"
            script.write_text(SERVICE)
            user += f",guestfwd=tcp:169.254.169.254:80-cmd:{sys.executable} {script} {service}"
        argv = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", str(self.memory), "-nodefaults", "-no-user-config"]
        argv += ["-display", "none", "-uuid", machine_id, "-serial", f"file:{self.directory}/console.log"]
        argv += ["-qmp", f"unix:{self.directory}/qmp,server=on,wait=off", "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"]
        argv += ["-drive", f"if=none,id=disk,format=qcow2,file={self.disk}", "-device", "virtio-blk-pci,drive=disk,bootindex=0"]
        argv += ["-netdev", user, "-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "pcie-root-port,id=spare,chassis=9", *more]
        self.started = time.monotonic()
        self.process = subprocess.Popen(argv, start_new_session=True)

    def until_logged(self, text: str) -> str:
        """The console's log, once it holds the text."""
        wait_for(lambda: text in self.log, f"{text!r} on the console {self.directory}/console.log")
        return self.log

    def until_ready(self) -> float:
        """Seconds from power on to readiness."""
        self.until_logged("pileus-guest: ready")
        return time.monotonic() - self.started

    def cost(self) -> tuple[float, float]:
        """CPU seconds and MiB (proportional set size) that QEMU took."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        memory = next(line for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(memory.split()[1]) / 1024

    def ssh(self, command: str, *, check: bool = True) -> str:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
        argv = ["ssh", "-i", str(self.key), "-p", str(self.port), *options, "-o", "ConnectTimeout=30", "pileus@127.0.0.1", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return done.stdout.strip()

    def qmp(self, command: str, **arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.directory / "qmp"))
            stream = link.makefile("rw")
            answer: dict[str, Any] = {}
            for name, given in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                stream.flush()
                answer = {}
                while not answer.keys() & {"return", "error"}:
                    answer = json.loads(stream.readline())
        assert "return" in answer, answer
        return answer["return"]

    def press_power_button(self) -> float:
        """Seconds until the guest has shut itself down."""
        assert self.process is not None
        begun = time.monotonic()
        self.qmp("system_powerdown")
        self.process.wait(timeout=DEADLINE)
        return time.monotonic() - begun

    def end(self) -> None:
        """Stop QEMU if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=10)
