"""Gratuitous ARP is said again, as long as the address is there."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pileus.model.errors import NodeFailed
from pileus.node.network import announce, namespaces

ROUTER, FLOATING = ("g1", "192.0.2.1"), ("g1", "192.0.2.9")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, str]]]:
    """What was announced."""
    found: list[list[tuple[str, str]]] = []

    def inside(namespace: str, body: Callable[[], Any]) -> Any:
        if namespace == "gone":
            raise NodeFailed("There is no such namespace.")
        return body()

    monkeypatch.setattr(announce, "addresses", found.append)
    monkeypatch.setattr(announce, "AGAIN", (0.001, 0.001))
    monkeypatch.setattr(namespaces, "inside", inside)
    return found


async def ended(announcer: announce.Announcer) -> None:
    async with asyncio.timeout(5):
        await asyncio.gather(*announcer._tasks.values(), return_exceptions=True)  # pyright: ignore[reportPrivateUsage]


def test_what_is_new_is_said_again_while_it_is_there(said: list[Any]) -> None:
    async def story() -> None:
        announcer = announce.Announcer()
        announcer.say("d", [ROUTER, FLOATING])
        announcer.repeat("d", "n", lambda: [ROUTER] if len(said) > 1 else [FLOATING, ROUTER])
        await ended(announcer)
        assert [sorted(one) for one in said] == [[ROUTER, FLOATING], [ROUTER, FLOATING], [ROUTER]]
        announcer.say("d", [])
        announcer.repeat("d", "n", lambda: [ROUTER])
        await ended(announcer)
        assert said[3:] == [[]], "there is nothing new"

    asyncio.run(story())


def test_nothing_is_said_again_of_a_domain_that_is_gone(said: list[Any]) -> None:
    async def story() -> None:
        announcer = announce.Announcer()
        for domain, namespace in (("d", "gone"), ("e", "n")):
            announcer.say(domain, [ROUTER])
            announcer.repeat(domain, namespace, lambda: [ROUTER])
        announcer.stop("e")
        await ended(announcer)
        assert said == [[ROUTER], [ROUTER]]

    asyncio.run(story())
