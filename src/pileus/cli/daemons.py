"""PostgreSQL and NATS of a cloud of many hosts on one machine: Debian's programs, in the state directory, started and stopped by us."""

import contextlib
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pileus.cli.credentials import write_private
from pileus.core.nats_config import text
from pileus.model.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from pileus.bus.authority import BusAuthority

PATIENCE = 30.0


def database_url(directory: Path) -> str:
    """The URL of the database that `Postgresql` keeps for this state directory."""
    return f"postgresql://pileus@/pileus?host={quote(str(directory / 'postgresql' / 'run'))}"


ADMITTED = "local all postgres peer map=ours\nlocal pileus pileus trust\n"
"""Who comes to the socket as `pileus` is believed: the socket's directory lets in nobody but root and the process of the managers."""


class Postgresql:
    """A server of the cloud's own: on a Unix socket alone, which root, the group of the managers' process and nobody else may use."""

    def __init__(self, directory: Path, group: int = 0) -> None:
        self.directory = directory / "postgresql"
        self.group = group
        found = [one.parent for one in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
        self.programs = max(found, key=lambda one: float(one.parent.name), default=None)

    def start(self) -> str:
        """Start it where it does not run; says what was done."""
        if self.programs is None:
            raise Unavailable("PostgreSQL's server is missing: apt-get install postgresql")
        data = self.directory / "data"
        made = not (data / "PG_VERSION").exists()
        if made:
            self._make(data)
        self._admit(data)
        if self.pid() is not None:
            return "runs already"
        began: list[subprocess.Popen[bytes]] = []

        def ready() -> bool:
            if not began or began[-1].poll() is not None:  # what a killed one left may still be ending: it starts when that has
                began.append(self._launch(data))
            return self._ready()

        wait_for(ready, f"PostgreSQL did not start; see {self.directory / 'log'}")
        run = str(self.directory / "run")
        with contextlib.suppress(Unavailable):  # it is there already
            self._run("createdb", "-h", run, "-U", "postgres", "-O", "pileus", "pileus")
        return "made" if made else "started"

    def _launch(self, data: Path) -> "subprocess.Popen[bytes]":
        assert self.programs is not None
        settings = [f"-c{one}" for one in ("listen_addresses=", "max_connections=200", "shared_buffers=64MB")]
        command = [str(self.programs / "postgres"), "-D", str(data), "-k", str(self.directory / "run"), *settings]
        user = self._user()
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                user=user["user"], group=user["group"], extra_groups=[],
            )  # fmt: skip

    def stop(self) -> None:
        """Stop it; fine when it does not run."""
        pid = self.pid()
        if pid is not None:
            end(pid, signal.SIGINT)

    def pid(self) -> int | None:
        """Its process, when it runs."""
        try:
            pid = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if str(self.directory / "data") in command_line(pid) else None

    def _make(self, data: Path) -> None:
        for parent in self.directory.parents:
            if not parent.stat().st_mode & 0o001:
                raise Invalid(f"PostgreSQL runs as its own user, who can't get into {parent}. Choose another directory with --state DIR.")
        user = self._user()
        self.directory.mkdir(mode=0o711, exist_ok=True)
        os.chown(self.directory, user["user"], user["group"])
        whole, data = data, self.directory / "data.new"
        shutil.rmtree(data, ignore_errors=True)  # what an interrupted attempt left
        (self.directory / "log").touch()
        self._run("initdb", "-D", str(data), "-A", "peer", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8")
        (data / "pg_ident.conf").write_text("ours root postgres\nours postgres postgres\n")
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write("log_min_messages = warning\n")
        single = [str(self.programs / "postgres"), "--single", "-D", str(data), "postgres"]  # type: ignore[operator]
        done = subprocess.run(single, input="CREATE ROLE pileus LOGIN\n", text=True, capture_output=True, check=False, **user)
        if done.returncode != 0:
            raise Unavailable(f"PostgreSQL's first role could not be made: {done.stderr.strip()[-300:]}")
        data.rename(whole)

    def _admit(self, data: Path) -> None:
        """Say who may come in; a server that runs, of an older version of ours too, hears it at once. In its directory it writes itself."""
        run, rules, user = self.directory / "run", data / "pg_hba.conf", self._user()
        run.mkdir(mode=0o710, exist_ok=True)
        os.chown(run, user["user"], self.group, follow_symlinks=False)
        if run.lstat().st_mode & 0o777 != 0o710:
            subprocess.run(["chmod", "710", str(run)], check=True, **user)
        if rules.read_text() == ADMITTED:
            return
        subprocess.run(["tee", str(rules)], input=ADMITTED, text=True, stdout=subprocess.DEVNULL, check=True, **user)
        if (pid := self.pid()) is not None:
            os.kill(pid, signal.SIGHUP)

    def _run(self, program: str, *arguments: str) -> None:
        assert self.programs is not None
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False, **self._user())
        if done.returncode != 0:
            raise Unavailable(f"{program} failed: {(done.stderr or done.stdout).strip()[-300:]}")

    def _ready(self) -> bool:
        assert self.programs is not None
        command = [str(self.programs / "pg_isready"), "-q", "-h", str(self.directory / "run")]
        return subprocess.run(command, check=False).returncode == 0

    def _user(self) -> dict[str, Any]:
        found = pwd.getpwnam("postgres")
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


class Nats:
    """A NATS server of the cloud's own, with TLS, on one address; `user`: as whom it runs, when not as this process."""

    def __init__(self, directory: Path, listen: str, user: int | None = None) -> None:
        self.directory = directory / "nats"
        self.listen = listen
        self.user = user

    def start(self, authority: "BusAuthority", revoked: dict[str, int]) -> str:
        """Start it where it does not run, with what its configuration is now; says what was done."""
        if shutil.which("nats-server") is None:
            raise Unavailable("NATS's server is missing: apt-get install nats-server")
        self.configure(authority, revoked)
        if self.pid() is not None:
            return "runs already"
        log = subprocess.DEVNULL
        command = [*self._unprivileged(), "nats-server", "-c", str(self.directory / "nats.conf")]
        process = subprocess.Popen(command, stdin=log, stdout=log, stderr=log, start_new_session=True, cwd="/")
        (self.directory / "pid").write_text(f"{process.pid}\n")
        host, _, port = self.listen.rpartition(":")
        wait_for(lambda: reachable(host, int(port)), f"NATS did not start; see {self.directory / 'nats.log'}")
        return "started"

    def configure(self, authority: "BusAuthority", revoked: dict[str, int]) -> None:
        """Write its configuration; a server that runs reads it at once. `revoked`: public keys of removed hosts, and when."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        if self.user is not None:  # it reads what is here, and writes its log, which lies there already
            os.chown(self.directory, 0, self.user)
            self.directory.chmod(0o750)
            (self.directory / "nats.log").touch(mode=0o640)
            os.chown(self.directory / "nats.log", self.user, self.user)
        certificate, key = self.directory / "certificate.pem", self.directory / "key.pem"
        if not certificate.exists():
            made = authority.certificate_for([self.listen.rpartition(":")[0], socket.gethostname()])
            write_private(key, made[1])
            write_private(certificate, made[0])
        server = authority.server(self.listen, str(certificate), str(key), revoked)
        write_private(self.directory / "nats.conf", text(server) + f'log_file: "{self.directory / "nats.log"}"\n')
        if self.user is not None:
            for file in (certificate, key, self.directory / "nats.conf"):
                os.chown(file, 0, self.user)
                file.chmod(0o640)
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGHUP)

    def _unprivileged(self) -> list[str]:
        """What goes before its command, so that it has no rights but those to its own files."""
        if self.user is None:
            return []
        user = [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        return ["setpriv", *user, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]

    def stop(self) -> None:
        """Stop it; fine when it does not run."""
        pid = self.pid()
        if pid is not None:
            end(pid, signal.SIGTERM)

    def pid(self) -> int | None:
        """Its process, when it runs."""
        try:
            pid = int((self.directory / "pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if str(self.directory / "nats.conf") in command_line(pid) else None


def command_line(pid: int) -> str:
    """A process's arguments; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def reachable(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex((host, port)) == 0


def wait_for(condition: Any, otherwise: str) -> None:
    """Return when it holds; Unavailable when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable(otherwise)
        time.sleep(0.05)


def end(pid: int, number: int, patience: float = 20.0) -> None:
    """Ask a process to end and wait for it; kill it when it does not."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            for one in (number, signal.SIGKILL):
                signal.pidfd_send_signal(descriptor, one)
                if select.select([descriptor], [], [], patience)[0]:
                    return
        finally:
            os.close(descriptor)
