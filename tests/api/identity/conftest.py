"""Writes down what the tests of the identity service asked and were answered, for who wants to compare (PILEUS_EXCHANGES=FILE)."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.harness import Answer, TestCloud

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
