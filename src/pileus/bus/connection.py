"""A connection to NATS that comes back by itself: who we are there, and what is subscribed to whenever it is up."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from pileus.bus import nkeys
from pileus.ending import end
from pileus.model.base import Model
from pileus.model.errors import Invalid, Unavailable

log = logging.getLogger(__name__)
REFUSED = "Authorization Violation"
PAUSE = 0.5
"""Seconds between two attempts to connect."""
Receive = Callable[[Any], Awaitable[None]]


class BusCredentials(Model, frozen=True, kw_only=True):
    """Where the bus is and who we are there. `authority`: PEM of who signs the server's certificate; empty: no TLS."""

    url: str
    cloud: str
    claims: str
    seed: str
    authority: str = ""

    def __repr__(self) -> str:
        return f"BusCredentials({self.url!r})"


def check_url(url: str) -> str:
    """The URL, when it is one of a NATS server; else Invalid."""
    parts = urlsplit(url)
    if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.password or parts.username:
        raise Invalid(
            f"--bus {url.rpartition('@')[2]}: expected nats://HOST:PORT, without a user (who may speak is told by signed claims)."
        )
    return url


class Connection:
    """Connects in the background and for as long as it lives; what happens to the connection is told to `changed`."""

    def __init__(self, credentials: BusCredentials, name: str) -> None:
        self.credentials = credentials
        self.name = name
        self.problem = "it has not been reached yet"
        self.changed: Callable[[bool], None] = lambda connected: None
        self._client: Any = None
        self._wanted: list[tuple[str, Receive]] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self, patience: float = 5.0) -> None:
        """Begin to connect; returns when connected, or after `patience` seconds (it goes on)."""
        self._task = asyncio.create_task(self._connect())
        await asyncio.wait({self._task}, timeout=patience)

    async def close(self) -> None:
        """End the connection."""
        self._closing = True
        await end([self._task])
        if self._client:
            from nats.errors import Error

            with contextlib.suppress(Error, OSError, RuntimeError):  # it may be gone already, in any of the client's own ways
                await self._client.close()

    @property
    def connected(self) -> bool:
        """Whether messages pass now."""
        return self._client is not None and bool(self._client.is_connected)

    async def subscribe(self, subject: str, receive: Receive) -> None:
        """Hear a subject from now on, through every loss of the connection. `receive` must not take long."""
        self._wanted.append((subject, receive))
        if self._client is not None:
            await self._client.subscribe(subject, cb=receive)

    async def unsubscribe(self, subject: str) -> None:
        """Hear a subject no more."""
        self._wanted = [one for one in self._wanted if one[0] != subject]
        if self._client is None:
            return
        from nats.errors import Error

        for one in list(self._client._subs.values()):  # the client names its subscriptions nowhere else
            if one.subject == subject:
                with contextlib.suppress(Error, OSError):  # the connection is gone, and the subscription with it
                    await one.unsubscribe()

    async def publish(self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Send; Unavailable when there is no connection now or the message is larger than the bus takes."""
        from nats.errors import Error, MaxPayloadError

        if not self.connected:
            raise Unavailable(f"The message bus {self.credentials.url} is not reached: {self.problem}.")
        try:
            await self._client.publish(subject, data, reply=reply, headers=headers)
        except MaxPayloadError as error:
            limit = self._client.max_payload
            raise Unavailable(f"A message of {len(data)} bytes is larger than the bus takes ({limit}); raise max_payload there.") from error
        except (Error, OSError) as error:
            raise Unavailable(f"The message bus {self.credentials.url} is not reached: {error}.") from error

    async def _connect(self) -> None:
        from nats.aio.client import Client
        from nats.errors import Error

        while True:
            client = Client()
            try:
                await client.connect(**self._options())
            except (Error, OSError, TimeoutError) as error:
                self._note(str(error) or type(error).__name__)
                await asyncio.sleep(PAUSE)
                continue
            self._client = client
            for subject, receive in self._wanted:
                await client.subscribe(subject, cb=receive)
            self.problem = ""
            log.info("connected to the message bus %s", self.credentials.url)
            self.changed(True)
            return

    def _options(self) -> dict[str, Any]:
        who = self.credentials

        async def lost() -> None:
            self._note("the connection was lost")
            self.changed(False)

        async def back() -> None:
            self.problem = ""
            log.info("connected to the message bus %s again", who.url)
            self.changed(True)

        async def closed() -> None:  # the client gives up when it was refused; we don't, as the claims may be let in again
            if self._task and not self._closing:
                self._task = asyncio.create_task(self._connect())

        async def failed(error: Exception) -> None:
            self._note(str(error) or type(error).__name__)

        options: dict[str, Any] = {
            "servers": [who.url],
            "name": self.name,
            "allow_reconnect": True,
            "no_echo": True,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": PAUSE,
            "connect_timeout": 3,
            "ping_interval": 5,
            "max_outstanding_pings": 2,
            "disconnected_cb": lost,
            "reconnected_cb": back,
            "closed_cb": closed,
            "error_cb": failed,
            "user_jwt_cb": lambda: bytearray(who.claims.encode()),
            "signature_cb": lambda nonce: nkeys.sign(who.seed, nonce.encode()),
        }
        if who.authority:
            context = ssl.create_default_context(cadata=who.authority)
            options |= {"tls": context, "tls_hostname": urlsplit(who.url).hostname}
        return options

    def _note(self, problem: str) -> None:
        told = problem.removeprefix("nats: ").strip("'\"")
        if REFUSED in self.problem and REFUSED not in told:
            return  # what follows a refusal, such as a reset connection, says less
        if told != self.problem:
            log.warning("message bus %s: %s", self.credentials.url, told)
        self.problem = told
