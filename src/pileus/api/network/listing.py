"""Neutron's conventions of lists: filters by any attribute, fields, sorting, paging with links, tags."""

from typing import Any, get_type_hints
from urllib.parse import urlencode

from pileus.api.network.kinds import Kind, Where
from pileus.api.network.validators import InvalidValue, boolean
from pileus.api.request import Request
from pileus.model.errors import Invalid, NotFound
from pileus.store.listing import Listing, list_rows

RESERVED = {"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"}
DIGITS = 18
"""The most of a whole number in a query: what a column of the store can hold."""
TAG_FILTERS = {"tags", "tags-any", "not-tags", "not-tags-any"}


async def list_documents(request: Request, kind: Kind) -> dict[str, Any]:
    """The whole answer to a list."""
    limit = _limit(request)
    backwards = boolean_query(request, "page_reverse") and limit is not None
    where, args = await conditions(request, kind)
    if "marker" in request.query:  # another's resource is none: the order of a page would tell of it
        try:
            await kind.load(request, request.cloud.db, request.query["marker"])
        except NotFound as error:
            raise Invalid(f"marker [{request.query['marker']}] not found", field="marker") from error
    listing = Listing(sort=_sort(request, kind), marker=request.query.get("marker"), limit=limit, reverse=backwards, where=where, args=args)
    rows = await list_rows(request.cloud.db, kind.table, listing)
    if backwards:
        rows.reverse()
    documents = [pick(request, kind, one) for one in await kind.views(request, rows)]
    answer: dict[str, Any] = {kind.plural: documents}
    links = _links(request, [row.id for row in rows], limit, backwards)
    if links:
        answer[f"{kind.plural}_links"] = links
    return answer


def pick(request: Request, kind: Kind, document: dict[str, Any]) -> dict[str, Any]:
    """The document as this caller may see it, with the fields that were asked for."""
    if not request.identity.is_admin:
        document = {key: value for key, value in document.items() if key not in kind.by_name or not kind.by_name[key].admin_view}
    fields = {name for name in request.all_queries("fields") if name}
    return {key: value for key, value in document.items() if key in fields} if fields else document


async def conditions(request: Request, kind: Kind) -> Where:
    """Visibility and the query's filters as one SQL condition."""
    clauses: list[str] = []
    args: list[Any] = []
    if not request.identity.is_admin:
        where, values = await kind.visible(request)
        clauses.append(f"({where})")
        args += values
    names = dict.fromkeys(name for name, _ in request.queries if name not in RESERVED)
    for name in names:
        _check_shown(request, kind, name, "filtering")
        clause, values = _filter(kind, name, request.all_queries(name))
        clauses.append(f"({clause})")
        args += values
    return " AND ".join(clauses), args


def _check_shown(request: Request, kind: Kind, name: str, use: str) -> None:
    """What only administrators see can't be found out by filtering or sorting either."""
    attribute = kind.by_name.get(name)
    if attribute is not None and attribute.admin_view and not request.identity.is_admin:
        raise Invalid(f"['{name}'] is invalid attribute for {use}", field=name)


def _filter(kind: Kind, name: str, values: list[str]) -> Where:
    if name in TAG_FILTERS:
        return _tags(kind, name, values)
    if name in kind.filters:
        return kind.filters[name](values)
    attribute = kind.by_name.get("project_id" if name == "tenant_id" else name)
    if attribute is None or attribute.column is None or attribute.column not in kind.table.columns:
        raise Invalid(f"['{name}'] is invalid attribute for filtering", field=name)
    column = attribute.column
    hint = get_type_hints(kind.table.struct)[column]
    converted = [_convert(name, hint, value) for value in values]
    clause = f"{kind.table.name}.{column} IN ({', '.join('?' * len(converted))})"
    if "" in values and hint == str | None:
        clause += f" OR {kind.table.name}.{column} IS NULL"
    return clause, converted


def _convert(name: str, hint: Any, value: str) -> Any:
    try:
        if hint is bool:
            return int(boolean(value))
        if hint in (int, int | None):
            if len(value) > DIGITS:
                raise ValueError
            return int(value)
        if hint is float:
            return float(value)
    except (InvalidValue, ValueError) as error:
        raise Invalid(f"Invalid input for {name}. Reason: '{value}' can't be compared with it.", field=name) from error
    return value


def _tags(kind: Kind, name: str, values: list[str]) -> Where:
    tags = [one for value in values for one in value.split(",") if one]
    marks = ", ".join("?" * len(tags)) or "NULL"
    negative = "NOT " if name.startswith("not-") else ""
    if name.endswith("any"):
        return f"{kind.table.name}.id {negative}IN (SELECT resource_id FROM network_tags WHERE tag IN ({marks}))", tags  # noqa: S608
    every = f"SELECT resource_id FROM network_tags WHERE tag IN ({marks}) GROUP BY resource_id HAVING count(*) = {len(set(tags))}"  # noqa: S608
    return f"{kind.table.name}.id {negative}IN ({every})", tags


def boolean_query(request: Request, name: str) -> bool:
    """A query parameter that says yes or no."""
    try:
        return boolean(request.query.get(name) or False)
    except InvalidValue:
        return False


def _sort(request: Request, kind: Kind) -> list[tuple[str, str]]:
    keys, directions = request.all_queries("sort_key"), request.all_queries("sort_dir")
    if directions and len(directions) != len(keys):
        raise Invalid("The number of sort_keys and sort_dirs must be same")
    if not keys:
        return [("created_at", "asc")]
    found: list[tuple[str, str]] = []
    for position, key in enumerate(keys):
        attribute = kind.by_name.get("project_id" if key == "tenant_id" else key)
        if attribute is None or attribute.column is None:
            raise Invalid(f"['{key}'] is invalid attribute for sort keys", field="sort_key")
        _check_shown(request, kind, key, "sort keys")
        direction = directions[position] if directions else "asc"
        if direction not in ("asc", "desc"):
            raise Invalid(f"['{direction}'] is invalid value for sort_dirs, valid value is asc or desc", field="sort_dir")
        found.append((attribute.column, direction))
    return found


def _limit(request: Request) -> int | None:
    text = request.query.get("limit")
    if text is None or text == "":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > DIGITS:
        raise Invalid(f"Limit must be an integer 0 or greater and not '{text[:80]}'", field="limit")
    return int(text) or None


def _links(request: Request, ids: list[str], limit: int | None, backwards: bool) -> list[dict[str, str]]:
    if limit is None:
        return []
    rest = [(name, value) for name, value in request.queries if name not in ("marker", "page_reverse")]
    address = f"{request.base_url}{request.path}"
    links: list[dict[str, str]] = []
    if ids and not (len(ids) < limit and not backwards):
        links.append({"rel": "next", "href": f"{address}?{urlencode([*rest, ('marker', ids[-1])])}"})
    if ids and not (len(ids) < limit and backwards):
        links.append({"rel": "previous", "href": f"{address}?{urlencode([*rest, ('marker', ids[0]), ('page_reverse', 'True')])}"})
    return links
