"""The audit log: one line for each request that would write, answered or refused, and for each login.

A line is in the file before the answer is on its way: `kill -9` of the process loses none that was answered. The file is synced once a
second, so that a power loss takes that second at most. What bodies hold never stands here: names of users who could not log in, ids.
"""

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pileus.api.request import Request, Response
from pileus.model.base import Model
from pileus.model.identity import Identity

if TYPE_CHECKING:
    from pileus.api.routes import Route

log = logging.getLogger(__name__)
READING = frozenset({"GET", "HEAD", "OPTIONS"})
LARGEST, KEPT = 32 << 20, 10
"""Bytes of a file, and how many older ones stay: audit.log.1 is the newest of them."""
EVERY = 1.0
LONGEST = 512
"""Characters of a path, and of a name that somebody gave; no more is kept."""


class Who(Model, frozen=True, kw_only=True, omit_defaults=True):
    """As the token says. Of a login that failed: as it was asked for."""

    user_id: str | None = None
    user_name: str | None = None
    project_id: str | None = None
    domain_id: str | None = None
    system: bool = False
    roles: list[str] = []
    audit_id: str | None = None
    application_credential_id: str | None = None
    trust_id: str | None = None


class Line(Model, frozen=True, kw_only=True, omit_defaults=True):
    """One line. `result`: success, refused (4xx: `error` is its class) or failed (5xx)."""

    time: str
    request_id: str
    event: str  # write or login
    result: str
    status: int
    address: str
    who: Who = Who()
    service: str = ""
    route: str = ""
    action: str | None = None
    method: str
    path: str
    resource: list[str] = []
    error: str = ""
    seconds: float


class AuditLog:
    """A watcher of the chain, and the file. One process writes it: whoever holds the state directory."""

    def __init__(self, directory: Path, largest: int = LARGEST, kept: int = KEPT) -> None:
        self.path = directory / "log" / "audit.log"
        self.lines = 0
        self.lost = 0
        self._largest = largest
        self._kept = kept
        self._unsynced = False
        self._old: list[int] = []  # files that were turned over, not synced yet
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._open()

    def __call__(self, request: Request, response: Response, seconds: float) -> None:
        """Write the line of a request that is no mere question; a login may come as a GET."""
        if request.method not in READING or "login" in request.notes:
            self._write(msgspec.json.encode(line_of(request, response, seconds)) + b"\n")

    async def keep_synced(self) -> None:
        """Once a second, what was written since is made durable."""
        while True:
            await asyncio.sleep(EVERY)
            if self._unsynced or self._old:
                try:
                    await asyncio.to_thread(self._sync)
                except OSError as error:
                    self._unsynced = True
                    log.error("%s could not be made durable, it is tried again: %s", self.path, error)

    def close(self) -> None:
        """Make all durable; no more is written."""
        self._unsynced = True
        self._sync()
        os.close(self._file)

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(self._file, 0o600)
        self._size = os.fstat(self._file).st_size
        self._torn = self._size > 0 and os.pread(self._file, 1, self._size - 1) != b"\n"  # a line that a power loss has cut

    def _write(self, data: bytes) -> None:
        try:
            if self._size + len(data) > self._largest and self._size:
                self._turn_over()
            data = b"\n" + data if self._torn else data
            done = os.write(self._file, data)
            self._size += done
            self._unsynced = True
            self._torn = done < len(data)
            if self._torn:
                raise OSError(f"only {done} of {len(data)} bytes could be written")
            self.lines += 1
        except OSError as error:  # a full disk: the request is done, and its line goes to the log of the process
            self.lost += 1
            log.error("a line of %s could not be written (%s): %s", self.path, error, data.decode(errors="replace").strip())

    def _turn_over(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self.path.with_name(f"audit.log.{number}")
            if older.exists():
                older.rename(self.path.with_name(f"audit.log.{number + 1}"))
        self.path.rename(self.path.with_name("audit.log.1"))
        self._old.append(self._file)
        self._open()

    def _sync(self) -> None:
        """Runs in a thread."""
        self._unsynced = False
        while self._old:
            old = self._old.pop()
            os.fsync(old)
            os.close(old)
        os.fdatasync(self._file)


def line_of(request: Request, response: Response, seconds: float) -> Line:
    """What is kept of a request."""
    route: Route | None = getattr(request, "route", None)
    service = getattr(request, "service", None)
    login = "login" in request.notes or (
        service is not None and service.type == "identity" and request.method == "POST" and request.path.endswith("/auth/tokens")
    )
    identity: Identity | None = getattr(request, "identity", None)
    status = response.status
    return Line(
        time=_time(request.received_at),
        request_id=request.id,
        event="login" if login else "write",
        result="success" if status < 400 else "refused" if status < 500 else "failed",
        status=status,
        address=request.remote_address,
        who=_who_logs_in(request, response) if login else _who(identity) if identity is not None else Who(),
        service=(service.type or service.name) if service is not None else "",
        route=f"/{route.path.lstrip('/')}" if route is not None else "",
        action=request.action if route is not None else None,
        method=request.method,
        path=request.path[:LONGEST],
        resource=[] if login or status >= 400 else _resource(request, response),
        error=str(request.notes.get("error", "")),
        seconds=round(seconds, 6),
    )


def _who(identity: Identity) -> Who:
    return Who(
        user_id=identity.user_id,
        user_name=identity.user_name or None,
        project_id=identity.project_id,
        domain_id=identity.domain_id,
        system=identity.system,
        roles=sorted(identity.roles),
        audit_id=identity.audit_ids[0] if identity.audit_ids else None,
        application_credential_id=identity.application_credential_id,
        trust_id=identity.trust_id,
    )


def _who_logs_in(request: Request, response: Response) -> Who:
    if "login" in request.notes:  # a way of its own to log in
        identity: Identity | None = request.notes["login"]
        return _who(identity) if identity is not None else Who()
    if response.status < 400 and isinstance(response.body, dict):
        token: dict[str, Any] = response.body["token"]
        return Who(
            user_id=token["user"]["id"],
            user_name=token["user"]["name"],
            project_id=_part(token, "project", "id"),
            domain_id=_part(token, "domain", "id"),
            system="system" in token,
            roles=sorted(one["name"] for one in token.get("roles", ())),
            audit_id=token["audit_ids"][0],
            application_credential_id=_part(token, "application_credential", "id"),
            trust_id=_part(token, "OS-TRUST:trust", "id"),
        )
    asked = ("auth", "identity")
    user = (*asked, "password", "user")
    credential = (*asked, "application_credential")
    return Who(
        user_id=_part(request.raw, *user, "id") or _part(request.raw, *credential, "user", "id"),
        user_name=_part(request.raw, *user, "name") or _part(request.raw, *credential, "user", "name"),
        application_credential_id=_part(request.raw, *credential, "id"),
    )


def _part(document: Any, *names: str) -> str | None:
    """A text deep in a document of whoever asked, or None."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return document[:LONGEST] if isinstance(document, str) else None


def _resource(request: Request, response: Response) -> list[str]:
    """The ids of what was made, else the last that the path names."""
    body = response.body
    if isinstance(body, dict) and request.method == "POST" and body:
        first: Any = next(iter(body.values()))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        made = body if "id" in body else first
        several: list[Any] = made if isinstance(made, list) else [made]
        if found := [one["id"] for one in several if isinstance(one, dict) and isinstance(one.get("id"), str)]:
            return found
    return list(request.params.values())[-1:]


def _time(seconds: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03}Z"
