"""The cloud that gets the images, by its Image API: content as a stream that goes on after a broken connection."""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from pileus.cli.client import AGENT, Api, ApiError, message
from pileus.config import Config
from pileus.model.errors import PileusError, Unavailable

TRIES = 6
"""Broken connections in a row, without a byte that came through, after which it is given up."""
PAUSE = 1.0
ANSWER = 120.0
WORK = 12 * 3600.0
"""Seconds for the answer to an import, which comes when the content is unpacked and converted."""
OCTETS = "application/octet-stream"
PATCH = "application/openstack-images-v2.1-json-patch"


class Broken(Exception):
    """The connection ended before the answer came."""


class Target:
    """A cloud's image service for one user. Methods raise ApiError, with `status` in its data."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext | None = None, pause: float = PAUSE) -> None:
        self.url = url.rstrip("/").removesuffix("/v2")
        self._token = token
        self._context = context
        self._pause = pause

    def create(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """A new image that waits for its content."""
        return self._call("POST", "/v2/images", json.dumps(attributes).encode(), "application/json")

    def show(self, image_id: str) -> dict[str, Any]:
        """The image as it is now."""
        return self._call("GET", f"/v2/images/{image_id}")

    def change(self, image_id: str, **values: Any) -> dict[str, Any]:
        """Replace attributes."""
        operations = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in values.items()]
        return self._call("PATCH", f"/v2/images/{image_id}", json.dumps(operations).encode(), PATCH)

    def remove(self, image_id: str) -> None:
        """The image and all that came of it."""
        self._call("DELETE", f"/v2/images/{image_id}")

    def bring_in(self, image_id: str) -> None:
        """Import what was staged; the answer may come before its end."""
        body = json.dumps({"method": {"name": "glance-direct"}}).encode()
        self._call("POST", f"/v2/images/{image_id}/import", body, "application/json", seconds=WORK)

    def failure(self, image_id: str) -> str:
        """Why the image's last import failed; empty where it did not, or nobody says."""
        try:
            tasks = self._call("GET", f"/v2/images/{image_id}/tasks")["tasks"]
        except ApiError:
            return ""
        last = max(tasks, key=lambda one: one["created_at"], default={})
        return last.get("message", "") if last.get("status") == "failure" else ""

    def stage(self, image_id: str, chunks: Callable[[int], Iterator[bytes]], size: int | None, progress: Callable[[int], object]) -> bool:
        """Send the content; says whether the connection broke on the way. A stream of unknown size is sent once."""
        offset = failures = 0
        while True:
            try:
                self._send(image_id, chunks, offset, size, progress)
                return failures > 0
            except Broken as error:
                if size is None:
                    raise Unavailable(f"The connection to {self.url} broke: {error}. The source can't be read again from there.") from error
                failures += 1
                reached, complete = self._reached(image_id, failures)
                if complete:
                    return True
                failures = 1 if reached > offset else failures
                if failures >= TRIES:
                    raise Unavailable(f"The connection to {self.url} broke {failures} times without getting further: {error}.") from error
                offset = reached

    def _reached(self, image_id: str, failures: int) -> tuple[int, bool]:
        """How far it came, once the service has noticed that the connection broke."""
        for attempt in range(TRIES):
            time.sleep(min(30.0, self._pause * (failures + attempt)))
            try:
                found = self._call("GET", f"/v2/images/{image_id}/stage")
                if not found.get("writing") and self.show(image_id)["status"] == "uploading":
                    return found["offset"], found["complete"]
            except Unavailable:
                continue
            except ApiError as error:
                if error.data["status"] == 404 and self.show(image_id)["status"] == "queued":
                    return 0, False  # nothing had come
                raise
        raise Unavailable(f"The image service at {self.url} does not answer any more, or does not let go of the broken connection.")

    def _send(
        self, image_id: str, chunks: Callable[[int], Iterator[bytes]], offset: int, size: int | None, progress: Callable[[int], object]
    ) -> None:
        connection = self._connection(ANSWER)
        try:
            connection.putrequest("PUT", f"{urlsplit(self.url).path}/v2/images/{image_id}/stage")
            headers = {"X-Auth-Token": self._token, "User-Agent": AGENT, "Content-Type": OCTETS}
            if size is None:
                headers["Transfer-Encoding"] = "chunked"
            else:
                headers |= {"Content-Length": str(size - offset)}
                if size:
                    span = f"{offset}-{size - 1}" if offset < size else "*"
                    headers["Content-Range"] = f"bytes {span}/{size}"
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            ended = self._pour(connection, chunks(offset), size is None, lambda done: progress(offset + done))
            status, data = self._answer(connection)
        except (OSError, http.client.HTTPException) as error:
            raise Broken(str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if status == 409 and size is not None:  # what an earlier connection has left is still being written, or came further
            raise Broken(message(data))
        if status >= 400:
            raise ApiError(f"The image service refuses the content: {status} {message(data)}", status=status)
        if ended:
            raise Broken(ended)

    def _pour(
        self, connection: http.client.HTTPConnection, chunks: Iterator[bytes], chunked: bool, progress: Callable[[int], object]
    ) -> str:
        """Send all; where the service stops taking it, it has said why: the words of the break, then."""
        done = 0
        for data in chunks:
            try:
                connection.send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            except OSError as error:
                return str(error)
            done += len(data)
            progress(done)
        if chunked:
            connection.send(b"0\r\n\r\n")
        return ""

    def _answer(self, connection: http.client.HTTPConnection) -> tuple[int, bytes]:
        response = connection.getresponse()
        return response.status, response.read()

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "", seconds: float = ANSWER) -> Any:
        connection = self._connection(seconds)
        headers = {"X-Auth-Token": self._token, "User-Agent": AGENT, **({"Content-Type": kind} if kind else {})}
        try:
            connection.request(method, urlsplit(self.url).path + path, body, headers)
            status, data = self._answer(connection)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"The image service at {self.url} does not answer: {error}") from error
        finally:
            connection.close()
        if status >= 400:
            raise ApiError(f"{method} {path}: {status} {message(data)}", status=status)
        return json.loads(data) if data else None

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=seconds, context=self._context)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)


def of_state(config: Config, public: bool) -> Target:
    """The cloud of a state directory: its project `demo`, or its administrator for what everybody is to see."""
    name = "admin" if public else "demo"
    api = Api(config, user=name, project=name)
    api.login()
    assert api.token
    return Target(f"{api.url}/image", api.token)


def of_clouds(name: str | None) -> Target:
    """A cloud of clouds.yaml, or of the variables OS_... ."""
    from pileus.cli.bring.clouds import connected

    connection = connected(name)
    verify, certificate = connection.config.get_requests_verify_args()
    url = connection.image.get_endpoint()
    if not url:
        raise PileusError("The cloud has no image service in its catalog.")
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(*([certificate] if isinstance(certificate, str) else certificate))
    return Target(url, connection.auth_token, context)
