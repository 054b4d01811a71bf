"""What is another project's is answered as what is not there: the same status, headers and body, and as much work to find it out.

Every route with the id of a thing of another project's in its path, beside the same route with an id that nobody has.
"""

import re
import uuid
from typing import Any

import pytest

from pileus.api.request import encode
from pileus.api.routes import PUBLIC, Route, Service
from tests.api.harness import Answer, TestCloud, services
from tests.api.isolation.test_routes import HIDDEN, SAME_FOR_ALL, Demo, requests

AS_KEYSTONE = "/v3/OS-TRUST/trusts/{trust_id}"
"""A trust of others is forbidden, with 403, as with Keystone: its id, which nobody can guess, is told to be one."""
ROLES = {"reader": {"reader"}, "member": {"member", "reader"}, "manager": {"manager", "member", "reader"}}
VARYING = {"x-openstack-request-id", "x-compute-request-id", "openstack-request-id", "date", "content-length"}


class Work:
    """Counts the statements of SQLite; on PostgreSQL nothing is counted."""

    def __init__(self, cloud: TestCloud) -> None:
        self._statements: list[str] = []
        for name in ("connection", "_writing"):
            if connection := getattr(cloud.db, name, None):
                cloud.loop.call_soon_threadsafe(connection.set_trace_callback, self._statements.append)

    def done(self) -> int:
        """How many since the last call."""
        count = len(self._statements)
        self._statements.clear()
        return count


@pytest.fixture(scope="module")
def demo(shared_cloud: TestCloud) -> Demo:
    return Demo(shared_cloud)


def masked(answer: Answer, *names: str) -> tuple[int, dict[str, str], str]:
    """The answer without what differs from one request to the next."""
    text = answer.body.decode(errors="replace")
    for name in names:
        text = text.replace(name, "ID")
    text = re.sub(r"req-[0-9a-f-]{36}", "REQUEST", text)
    return answer.status, {name: value for name, value in answer.headers.items() if name.lower() not in VARYING}, text


@pytest.mark.parametrize("role", ["reader", "member", "manager"])
@pytest.mark.parametrize("service", services().values(), ids=services())
def test_what_is_anothers_is_answered_as_what_is_not_there(service: Service, role: str, demo: Demo, shared_cloud: TestCloud) -> None:
    token = shared_cloud.token("other_project_member", roles=ROLES[role])
    wrong: list[str] = []
    work = Work(shared_cloud)
    for route in service.routes:
        if route.policy == PUBLIC or route.path in SAME_FOR_ALL or "{" not in route.path or route.path.startswith(AS_KEYSTONE):
            continue
        theirs = [one for one in demo.ids.values() if one != HIDDEN and f"/{one}" in demo.path(service, route)]
        for path, body in requests(service, route, demo) if theirs else []:
            nobodys = {one: uuid.uuid4().hex if len(one) == 32 else str(uuid.uuid4()) for one in theirs}
            other = path
            for one, another in nobodys.items():
                other = other.replace(one, another)
            there, nowhere = (
                (masked(ask(shared_cloud, service, route, token, where, body), *theirs, *nobodys.values()), work.done())
                for where in (path, other)
            )
            if there != nowhere:
                wrong.append(f"{route.method} {route.path} {str(body)[:60]}:\n    {there}\n    {nowhere}")
    assert not wrong, "\n".join(wrong)


def ask(cloud: TestCloud, service: Service, route: Route, token: Any, path: str, body: Any) -> Answer:
    headers = {"openstack-api-version": f"{service.history.header} latest"} if service.history and route.until is None else {}
    headers["content-type"] = route.media[0] if route.media else "application/octet-stream" if route.stream else "application/json"
    return cloud.call(route.method, path, token, content=b"" if body is None else encode(body), headers=headers)
