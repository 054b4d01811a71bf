"""The customers of a life: each has a project, wants so many servers, and does something about them now and then."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from pileus.simulation.ledger import Ledger

SERVERS, NETWORK = "/compute/v2.1/servers", "/network/v2.0"
Document = dict[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """`status` 0: nobody listened; None: it was cut off, and nobody knows."""

    status: int | None
    document: Any = None
    headers: dict[str, str] = {}


class Api(Protocol):
    """The cloud's."""

    async def call(self, method: str, path: str, document: Any = None, token: str = "") -> Answer:
        """One request."""
        ...

    def heard(self, name: str, what: str, answer: Answer) -> None:
        """A customer was told something about a server."""
        ...

    def time(self) -> float:
        """Virtual."""
        ...


class User:
    """Somebody with a password and a project, who takes a new token when the old one is refused."""

    def __init__(self, api: Api, name: str, password: str, project: str) -> None:
        self.api = api
        self.name = name
        self._password = password
        self._project = project
        self._token = ""

    async def call(self, method: str, path: str, document: Any = None) -> Answer:
        """One request, with a token."""
        if not self._token:
            await self._login()
        answer = await self.api.call(method, path, document, self._token)
        if answer.status == 401:
            await self._login()
            answer = await self.api.call(method, path, document, self._token)
        return answer

    async def get(self, path: str) -> Any:
        """A document; None when there is none now."""
        answer = await self.call("GET", path)
        return answer.document if answer.status == 200 else None

    async def _login(self) -> None:
        user = {"name": self.name, "domain": {"id": "default"}, "password": self._password}
        scope = {"project": {"name": self._project, "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        answer = await self.api.call("POST", "/identity/v3/auth/tokens", body)
        self._token = answer.headers.get("x-subject-token", "")


class Customer:
    """`wants`: servers; `work` does one thing."""

    def __init__(self, user: User, admin: User, ledger: Ledger, source: random.Random, wants: int) -> None:
        self.user = user
        self.admin = admin
        self.ledger = ledger
        self.source = source
        self.wants = wants
        self.image = self.network = ""
        self.flavors: list[str] = []
        self._made = 0

    async def work(self) -> None:
        """Create up to what is wanted; else something about one of the servers."""
        found = await self.user.get(f"{SERVERS}/detail")
        if found is None:
            return
        servers: list[Document] = sorted(found["servers"], key=lambda one: one["name"])
        idle = [one for one in servers if one["OS-EXT-STS:task_state"] is None]
        if not idle or (len(servers) < self.wants and self.source.random() < 0.3):
            await self._create()
            return
        server = self.source.choice(idle)
        await self._about(server)

    async def _about(self, server: Document) -> None:
        choices: list[tuple[int, Callable[[Document], Awaitable[None]]]]
        match server["status"]:
            case "ACTIVE":
                choices = [
                    (3, self._does("reboot", {"type": self.source.choice(["SOFT", "HARD"])})),
                    (3, self._does("os-stop", None)),
                    (1, self._does("pause", None)),
                    (1, self._does("suspend", None)),
                    (2, self._resize),
                    (3, self._move),
                    (2, self._snapshot),
                    (2, self._port),
                    (1, self._does("rebuild", {"imageRef": self.image})),
                    (3, self._mark),
                    (3, self._delete),
                ]
            case "SHUTOFF":
                choices = [(6, self._does("os-start", None)), (1, self._delete), (1, self._snapshot)]
            case "PAUSED":
                choices = [(1, self._does("unpause", None))]
            case "SUSPENDED":
                choices = [(1, self._does("resume", None))]
            case "VERIFY_RESIZE":
                choices = [(2, self._does("confirmResize", None)), (1, self._does("revertResize", None))]
            case _:
                choices = [(2, self._delete), (1, self._does("reboot", {"type": "HARD"}))]
        [(_, chosen)] = self.source.choices(choices, [weight for weight, _ in choices])
        await chosen(server)

    async def _create(self) -> None:
        self._made += 1
        name = f"{self.user.name}-{self._made}"
        document = {
            "name": name,
            "imageRef": self.image,
            "flavorRef": self.source.choice(self.flavors),
            "networks": [{"uuid": self.network}],
            "metadata": {},
        }
        await self._ask("create", name, "POST", SERVERS, {"server": document})

    async def _delete(self, server: Document) -> None:
        await self._ask("delete", server["name"], "DELETE", f"{SERVERS}/{server['id']}")

    async def _mark(self, server: Document) -> None:
        value = str(self.source.randrange(10**6))
        await self._ask("mark", server["name"], "POST", f"{SERVERS}/{server['id']}/metadata", {"metadata": {"mark": value}}, mark=value)

    async def _resize(self, server: Document) -> None:
        others = [one for one in self.flavors if one != server["flavor"].get("original_name")]
        await self._act(server, "resize", {"flavorRef": self.source.choice(others)})

    async def _snapshot(self, server: Document) -> None:
        """And away with those of before."""
        images = await self.user.get("/image/v2/images?visibility=private")
        for image in (images or {"images": []})["images"]:
            if image["status"] == "active":
                await self.user.call("DELETE", f"/image/v2/images/{image['id']}")
        await self._act(server, "createImage", {"name": f"of {server['name']}"})

    async def _port(self, server: Document) -> None:
        """One more of the network, or one less; a third that no server has is too many."""
        found = await self.user.get(f"{NETWORK}/ports?name=spare")
        ports = (found or {"ports": []})["ports"]
        if len(ports) > 2:
            await self._ask("unplug", server["name"], "DELETE", f"{NETWORK}/ports/{ports[0]['id']}")
        else:
            await self._ask("plug", server["name"], "POST", f"{NETWORK}/ports", {"port": {"network_id": self.network, "name": "spare"}})

    async def _move(self, server: Document) -> None:
        live = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        await self._ask("move", server["name"], "POST", f"{SERVERS}/{server['id']}/action", live, who=self.admin)

    def _does(self, action: str, parameters: Any) -> Callable[[Document], Awaitable[None]]:
        async def act(server: Document) -> None:
            await self._act(server, action, parameters)

        return act

    async def _act(self, server: Document, action: str, parameters: Any) -> None:
        await self._ask(action, server["name"], "POST", f"{SERVERS}/{server['id']}/action", {action: parameters})

    async def _ask(self, what: str, name: str, method: str, path: str, document: Any = None, **more: Any) -> None:
        at = self.user.api.time()
        who: User = more.pop("who", self.user)
        answer = await who.call(method, path, document)
        self.user.api.heard(name, what, answer)
        if answer.status is None or answer.status == 503 or answer.status < 300:
            if answer.status != 0:
                self.ledger.take(name, what, at, certain=answer.status is not None and answer.status < 300, **more)
        elif answer.status >= 500:
            raise AssertionError(f"{what} {name} was answered by {answer.status}: {answer.document}")
