"""A small client of the public API, for what `up`, `status` and `bench` ask: standard library only, so that it costs no start time."""

import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pileus.cli.credentials import Credentials, base_url
from pileus.config import Config
from pileus.model.errors import PileusError, Unavailable

CHUNK = 1 << 20
AGENT = "pileus"
"""By which a simulated cloud tells our own requests from those of whom it is a test double for."""


class ApiError(PileusError):
    """The API answered with an error."""


class Api:
    """One user's view of the cloud. Methods raise ApiError, with `status` in its data."""

    def __init__(self, config: Config, user: str = "demo", project: str | None = "demo") -> None:
        self.url = base_url(config)
        self.user = user
        self.password = Credentials(config.directory).known_passwords()[user]
        self.project = project
        self.token: str | None = None

    def login(self) -> None:
        """Take a token: of the project, or of the system when there is none."""
        scope: Any = {"project": {"name": self.project, "domain": {"id": "default"}}} if self.project else {"system": {"all": True}}
        user = {"name": self.user, "domain": {"id": "default"}, "password": self.password}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        status, headers, data = self._send(
            "POST", "/identity/v3/auth/tokens", {"Content-Type": "application/json"}, json.dumps(body).encode()
        )
        if status != 201:
            raise ApiError(f"Logging in as {self.user} failed: {message(data)}", status=status)
        self.token = headers["x-subject-token"]

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Send a request; the answer's document, or None when it has none."""
        if self.token is None:
            self.login()
        all_headers = {"X-Auth-Token": self.token or "", **(headers or {})}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            all_headers.setdefault("Content-Type", "application/json")
        status, _, answer = self._send(method, path, all_headers, data)
        if status >= 400:
            raise ApiError(f"{method} {path}: {status} {message(answer)}", status=status)
        return json.loads(answer) if answer else None

    def get(self, path: str) -> Any:
        """GET, with the newest microversions."""
        return self.call("GET", path, headers={"OpenStack-API-Version": "compute latest, placement latest"})

    def post(self, path: str, body: Any) -> Any:
        """POST, with the newest microversions."""
        return self.call("POST", path, body, headers={"OpenStack-API-Version": "compute latest"})

    def upload(self, path: str, file: Path, progress: Callable[[float], None]) -> None:
        """PUT a file as a stream; `progress` gets the part that is done, 0 to 1."""
        if self.token is None:
            self.login()
        size = file.stat().st_size
        connection = self._connection()
        try:
            connection.putrequest("PUT", path)
            for name, value in {
                "X-Auth-Token": self.token or "",
                "Content-Type": "application/octet-stream",
                "Content-Length": str(size),
                "User-Agent": AGENT,
            }.items():
                connection.putheader(name, value)
            connection.endheaders()
            done = 0
            with file.open("rb") as source:
                while chunk := source.read(CHUNK):
                    connection.send(chunk)
                    done += len(chunk)
                    progress(done / size)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise ApiError(f"PUT {path}: {response.status} {message(data)}", status=response.status)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=120)

    def _send(self, method: str, path: str, headers: dict[str, str], data: bytes | None) -> tuple[int, dict[str, str], bytes]:
        connection = self._connection()
        try:
            connection.request(method, path, data, {"User-Agent": AGENT, **headers})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        except OSError as error:
            raise Unavailable(f"The API at {self.url} does not answer: {error}") from error
        finally:
            connection.close()


def message(data: bytes) -> str:
    """What an error's document says."""
    try:
        document = json.loads(data)
        first = next(iter(document.values()))
        return str(first.get("message", first)) if isinstance(first, dict) else str(first)
    except (ValueError, StopIteration, AttributeError):
        page = data.decode(errors="replace")
        return " ".join(re.sub("<[^>]*>", " ", page.partition("</h1>")[2] or page).split())[:300]
