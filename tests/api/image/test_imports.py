"""Imports: from the staging area, and from the web."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from pileus.api.image.files import recover
from pileus.model.images import ImageTask
from pileus.store import image_tasks
from pileus.store.database import Transaction
from tests.api.harness import Answer, TestCloud
from tests.api.image.calls import IMAGES, OCTETS, create, files, show

CONTENT = b"the content of an image" * 1000


class Web(BaseHTTPRequestHandler):
    """A few pages."""

    elsewhere: ClassVar[str] = ""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/image")
            self.end_headers()
        elif self.path in ("/inside", "/round"):
            self.send_response(302)
            self.send_header("Location", self.elsewhere if self.path == "/inside" else "/round")
            self.end_headers()
        elif self.path in ("/image", "/short"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) + (self.path == "/short")))
            self.end_headers()
            self.wfile.write(CONTENT)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a server that the cloud trusts."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def cloud(web: str) -> Iterator[TestCloud]:
    """A cloud that may import from the web server."""
    made = TestCloud(import_hosts=[web.removeprefix("http://")])
    yield made
    made.close()


def download(cloud: TestCloud, image: dict[str, Any], uri: str | None, **more: Any) -> Answer:
    body = {"method": {"name": "web-download", **({"uri": uri} if uri else {})}, **more}
    return cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="member", json=body)


def tasks(cloud: TestCloud, image: dict[str, Any]) -> list[dict[str, Any]]:
    answer = cloud.call("GET", f"{IMAGES}/{image['id']}/tasks", token="member")
    assert answer.status == 200, answer
    return answer.json["tasks"]


def ended(cloud: TestCloud, image: dict[str, Any]) -> dict[str, Any]:
    """The image's last task, once it is over."""
    deadline = time.monotonic() + 20
    while (last := tasks(cloud, image)[-1])["status"] == "processing":
        assert time.monotonic() < deadline, "the import did not end"
    return last


@pytest.mark.parametrize("page", ["image", "moved"])
def test_an_image_comes_from_the_web(page: str, web: str, cloud: TestCloud) -> None:
    image = create(cloud)
    answer = download(cloud, image, f"{web}/{page}")
    assert answer.status == 202, answer
    task = ended(cloud, image)
    assert (task["status"], task["message"]) == ("success", "")
    assert task["request_id"] == answer.headers["x-openstack-request-id"]
    assert task["input"]["import_req"]["method"]["name"] == "web-download"
    found = show(cloud, image)
    assert (found["status"], found["size"], found["stores"]) == ("active", len(CONTENT), "local")
    assert not [name for name in found if name.startswith("os_glance")]
    assert cloud.call("GET", f"{IMAGES}/{image['id']}/file", token="member").body == CONTENT


@pytest.mark.parametrize("page, why", [("none", "404"), ("short", "ended after"), ("round", "redirections")])
def test_a_download_that_fails_leaves_the_image_waiting(page: str, why: str, web: str, cloud: TestCloud) -> None:
    image = create(cloud)
    assert download(cloud, image, f"{web}/{page}").status == 202
    task = ended(cloud, image)
    assert task["status"] == "failure" and why in task["message"]
    found = show(cloud, image)
    assert (found["status"], found["os_glance_failed_import"]) == ("queued", "local")
    assert files(cloud) == []
    assert download(cloud, image, f"{web}/image").status == 202
    assert ended(cloud, image)["status"] == "success"


def test_a_redirection_leads_nowhere_inside(web: str, cloud: TestCloud) -> None:
    Web.elsewhere = "http://169.254.169.254/latest/meta-data"
    image = create(cloud)
    assert download(cloud, image, f"{web}/inside").status == 202
    assert "does not pass filtering" in ended(cloud, image)["message"]


@pytest.mark.parametrize("uri", ["http://127.0.0.1/x", "http://localhost/x", "http://does-not.exist/x", "gopher://example.org/x", None])
def test_an_address_that_leads_inside_or_nowhere_is_refused_at_once(uri: str | None, cloud: TestCloud) -> None:
    image = create(cloud)
    answer = download(cloud, image, uri)
    assert answer.status == 400, answer
    assert tasks(cloud, image) == []
    assert show(cloud, image)["status"] == "queued"


def test_only_an_image_that_waits_is_filled(web: str, cloud: TestCloud) -> None:
    image = create(cloud)
    assert download(cloud, image, f"{web}/image", stores=["far"]).status == 409
    assert download(cloud, image, f"{web}/image").status == 202
    assert download(cloud, image, f"{web}/image").status == 409
    assert ended(cloud, image)["status"] == "success"
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="member", json={"method": {"name": "magic"}}).status == 400


def test_what_was_staged_leaves_a_task_too(cloud: TestCloud) -> None:
    image = create(cloud)
    stage = f"{IMAGES}/{image['id']}/stage"
    assert cloud.call("PUT", stage, token="member", content=b"content", headers=OCTETS).status == 204
    assert cloud.call("POST", f"{IMAGES}/{image['id']}/import", token="member", json={"method": {"name": "glance-direct"}}).status == 202
    assert [task["status"] for task in tasks(cloud, image)] == ["success"]
    key = tasks(cloud, image)[0]["id"]
    assert cloud.call("GET", f"/image/v2/tasks/{key}", token="admin").json["id"] == key
    assert [task["id"] for task in cloud.call("GET", "/image/v2/tasks", token="admin").json["tasks"]] == [key]
    assert cloud.call("GET", "/image/v2/tasks/none", token="admin").status == 404


def test_an_import_that_died_with_the_process_has_failed(cloud: TestCloud) -> None:
    image = create(cloud)
    task = ImageTask(id="t", created_at=1.0, image_id=image["id"], owner=None, user_id="u", request_id="r", status="processing")

    async def begin(tx: Transaction) -> None:
        await image_tasks.start_task(tx, task)
        await tx.execute("UPDATE images SET status = 'importing', upload = 'x' WHERE id = ?", image["id"])

    cloud.write(begin)
    cloud.run(recover(cloud.db, cloud.cloud.image_stores))
    assert tasks(cloud, image)[0]["status"] == "failure"
    assert show(cloud, image)["status"] == "queued"


def test_a_task_makes_an_image_in_one_call(web: str, cloud: TestCloud) -> None:
    given = {"import_from": f"{web}/image", "image_properties": {"name": "n", "disk_format": "raw", "container_format": "bare"}}
    made = cloud.call("POST", "/image/v2/tasks", token="admin", json={"type": "import", "input": given})
    assert made.status == 201, made
    assert (made.json["type"], made.json["input"]) == ("import", given)
    image = {"id": made.json["image_id"]}
    deadline = time.monotonic() + 20
    while (task := cloud.call("GET", f"/image/v2/tasks/{made.json['id']}", token="admin").json)["status"] == "processing":
        assert time.monotonic() < deadline, "the task did not end"
    assert (task["status"], task["result"]) == ("success", {"image_id": image["id"]})
    assert show(cloud, image, "admin")["status"] == "active"
    for wrong in ({"type": "clone", "input": given}, {"type": "import", "input": {**given, "import_from": "http://nothing.invalid/x"}}):
        assert cloud.call("POST", "/image/v2/tasks", token="admin", json=wrong).status == 400
