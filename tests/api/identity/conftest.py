"""Users from elsewhere; and what the tests asked and were answered, for who wants to compare (PILEUS_EXCHANGES=FILE)."""

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.harness import Answer, TestCloud

if TYPE_CHECKING:
    from tests.api.identity.federation import Federation
    from tests.api.identity.openid_server import OpenIdServer

FILE = os.environ.get("PILEUS_EXCHANGES", "")
PREFIX = "/identity"


@pytest.fixture(autouse=True)
def exchanges(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A line for each request that was granted."""
    if not FILE:
        yield
        return
    real = TestCloud.call

    def call(cloud: TestCloud, method: str, path: str, *rest: Any, **more: Any) -> Answer:
        answer = real(cloud, method, path, *rest, **more)
        if path.startswith(f"{PREFIX}/v3") and answer.status < 300:
            where, _, query = path.removeprefix(PREFIX).partition("?")
            shown = answer.json if answer.body[:1] in (b"{", b"[") else None
            body = more.get("json", rest[1] if len(rest) > 1 else None)
            line = {"method": method, "path": where, "query": query, "request": body, "status": answer.status, "response": shown}
            with open(FILE, "a") as file:
                file.write(json.dumps(line) + "\n")
        return answer

    monkeypatch.setattr(TestCloud, "call", call)
    yield


@pytest.fixture(scope="session")
def signing() -> "Iterator[OpenIdServer]":
    """A provider of OpenID Connect for the whole session: its keys take a while."""
    from tests.api.identity.openid_server import OpenIdServer

    one = OpenIdServer()
    yield one
    one.close()


@pytest.fixture(scope="session")
def tls_provider() -> "Iterator[OpenIdServer]":
    """One that speaks TLS, with a certificate that nobody has signed."""
    from tests.api.identity.openid_server import OpenIdServer

    one = OpenIdServer(tls=True)
    yield one
    one.close()


@pytest.fixture
def federation(cloud: TestCloud, signing: "OpenIdServer") -> "Federation":
    """A cloud whose users come from that provider."""
    from tests.api.identity.federation import Federation

    signing.forget()
    return Federation(cloud, signing)
