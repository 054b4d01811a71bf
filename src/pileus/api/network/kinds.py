"""What a resource is to the generic handlers: its names, its attributes, its table, its hooks."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pileus.api.network.attributes import Attribute, index
from pileus.api.request import Request
from pileus.model.base import Resource
from pileus.model.errors import NotFound
from pileus.store.database import Reader, Transaction
from pileus.store.tables import Table

Values = dict[str, Any]
Where = tuple[str, list[Any]]


class Call(msgspec.Struct):
    """One write at work: the request, its transaction, the ids that the routing and the servers' reconcilers are to look at afterwards.

    `given` are the attributes that the body itself names, without defaults.
    """

    request: Request
    tx: Transaction
    wakes: set[str] = msgspec.field(default_factory=set)
    given: frozenset[str] = frozenset()
    servers: set[str] = msgspec.field(default_factory=set)

    @property
    def project_id(self) -> str:
        """The caller's project."""
        return self.request.project_id

    @property
    def admin(self) -> bool:
        """Whether the caller is an administrator."""
        return self.request.identity.is_admin

    def wake(self, *ids: str | None) -> None:
        """Have the routing reconciler look at these networks or routers."""
        self.wakes.update(one for one in ids if one)


async def no_visible_more(request: Request) -> Where:
    """The condition for a resource that its project alone sees."""
    return "project_id = ?", [request.identity.project_id]


class Kind(msgspec.Struct, kw_only=True):
    """A kind of resource. `title` is its name in Neutron's exceptions: Network for NetworkNotFound.

    `visible` gives the SQL condition under which who is not an administrator sees a row. `filters` are filters that are not a column:
    name -> (values -> SQL condition). `own`: whether the caller may change a row that is visible.
    """

    name: str
    plural: str
    title: str
    table: Table[Any]
    attributes: list[Attribute]
    views: Callable[[Request, list[Any]], Awaitable[list[Values]]]
    create: Callable[[Call, Values], Awaitable[Any]] | None = None
    update: Callable[[Call, Any, Values], Awaitable[Any]] | None = None
    delete: Callable[[Call, Any], Awaitable[None]] | None = None
    visible: Callable[[Request], Awaitable[Where]] = no_visible_more
    may_delete: Callable[[Call, Any], Awaitable[bool]] | None = None
    filters: dict[str, Callable[[list[str]], Where]] = {}
    path: str = ""
    by_name: dict[str, Attribute] = {}

    def __post_init__(self) -> None:
        self.by_name = index(self.attributes)
        self.path = self.path or self.plural.replace("_", "-")

    def not_found(self, id: str) -> NotFound:
        """Neutron's error."""
        words = f"{self.title} {id} could not be found." if self.name != "security_group" else f"Security group {id} does not exist"
        return NotFound(words, type=f"{self.title}NotFound", kind=self.title, id=id)

    async def load(self, request: Request, db: Reader, id: str) -> Any:
        """The row when the caller may see it; else NotFound."""
        if request.identity.is_admin:
            row = await self.table.get(db, id)
        else:
            where, args = await self.visible(request)
            row = await self.table.first(db, f"{self.table.name}.id = ? AND ({where})", id, *args)
        if row is None:
            raise self.not_found(id)
        return row


def owns(request: Request, row: Resource) -> bool:
    """Whether the row is of the caller's project, or the caller an administrator."""
    return request.identity.is_admin or getattr(row, "project_id", None) == request.identity.project_id


def project_of(call: Call, values: Values) -> str:
    """The project that a new resource is for: the caller's, unless an administrator names another."""
    return values.get("project_id") or call.project_id
