"""A NATS server for tests: Debian's, on a free port, with an operator and an account made on the spot."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from pileus.bus import nkeys
from pileus.bus.connection import BusCredentials
from pileus.bus.subjects import Subjects
from pileus.core.nats_config import NatsServer, text

CLOUD = "test"


class TestServer:
    """`start` and `stop` may be called again and again: the port stays."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        if not shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip("needs nats-server; `./pileus test` installs it on Debian")
        self.folder = folder
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.operator, self.account = nkeys.new_seed("operator"), nkeys.new_seed("account")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        now = int(time.time())
        account = nkeys.public_key(self.account)
        config = NatsServer(
            listen=f"127.0.0.1:{self.port}",
            operator=nkeys.operator_claims(self.operator, "pileus", now),
            account=account,
            account_claims=nkeys.account_claims(self.operator, account, "cloud", now),
            log_file=str(self.folder / "nats.log"),
        )
        file = self.folder / "nats.conf"
        file.write_text(text(config))
        self.process = subprocess.Popen(["nats-server", "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "nats.log").read_text()
            time.sleep(0.01)
        raise AssertionError("nats-server does not listen")

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def credentials(self, host: str | None = None) -> BusCredentials:
        """A host's, or a manager's."""
        subjects = Subjects(cloud=CLOUD)
        seed = nkeys.new_seed("user")
        permissions = subjects.of_node(host) if host else subjects.of_manager()
        claims = nkeys.user_claims(self.account, nkeys.public_key(seed), host or "manager", int(time.time()), permissions)
        return BusCredentials(url=f"nats://127.0.0.1:{self.port}", cloud=CLOUD, claims=claims, seed=seed)
