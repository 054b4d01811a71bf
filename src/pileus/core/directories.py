"""A domain's users and groups in an LDAP directory: the options, what is asked of the directory, and what its entries mean.

The options and their meaning are Keystone's. Filters are RFC 4515's text; whatever comes from a client is escaped in them.
"""

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from pileus.core.domain_options import DEFAULTS, Options
from pileus.model.base import Model
from pileus.model.directories import DirectoryGroup, DirectoryId, DirectoryUser
from pileus.model.errors import Invalid
from pileus.model.groups import Group
from pileus.model.users import User

CHOICES = {
    ("ldap", "query_scope"): ("one", "sub"),
    ("ldap", "tls_req_cert"): ("demand", "allow", "never"),
    ("ldap", "alias_dereferencing"): ("default", "never", "searching", "always", "finding"),
}
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
BINARY = {"objectguid"}
"""Attributes that are the 16 bytes of a UUID, the first three parts of it lowest byte first (Active Directory)."""


class Tree(Model, frozen=True, kw_only=True):
    """Where the entries of a kind lie, and what their attributes are called. `attributes`: ours -> the directory's."""

    base: str
    objectclass: str
    filter: str
    id: str
    name: str
    attributes: dict[str, str]


class Enabling(Model, frozen=True, kw_only=True):
    """How an entry says that its user may log in. `emulation`: who is a member of that entry may."""

    attribute: str
    mask: int
    default: str
    invert: bool
    emulation: str | None = None


class DirectoryOptions(Model, frozen=True, kw_only=True):
    """What is asked of a directory, and how it is reached."""

    urls: tuple[str, ...]
    user: str | None
    password: str | None
    subtree: bool
    page_size: int
    aliases: str
    referrals: bool
    start_tls: bool
    certificates: str | None
    require_certificate: bool
    timeout: float
    users: Tree
    groups: Tree
    enabling: Enabling
    member: str
    members_are_ids: bool

    def __repr__(self) -> str:
        return f"DirectoryOptions(urls={self.urls!r})"  # never the password


class Entry(Model, frozen=True, kw_only=True):
    """An entry as the directory gave it; names of attributes in lower case."""

    dn: str
    attributes: dict[str, list[bytes]]

    def text(self, attribute: str) -> str | None:
        """The first value; None where there is none, or no text."""
        values = self.attributes.get(attribute.lower(), [])
        if not values:
            return None
        if attribute.lower() in BINARY and len(values[0]) == 16:
            return str(uuid.UUID(bytes_le=values[0]))
        try:
            return values[0].decode()
        except UnicodeDecodeError:
            return None

    def texts(self, attribute: str) -> list[str]:
        """Every value that is text."""
        return [value.decode(errors="replace") for value in self.attributes.get(attribute.lower(), [])]


def public_id(domain_id: str, kind: str, local_id: str) -> str:
    """The id of a directory's "user" or "group" in the API: Keystone's, so that a cloud can move here with its assignments."""
    return hashlib.sha256(f"{domain_id}{kind}{local_id}".encode()).hexdigest()


def escaped(text: str) -> str:
    """A value, as it may stand in a filter."""
    return "".join(f"\\{ord(one):02x}" if one in "\\*()\0" else one for one in text)


def same_name(dn: str) -> str:
    """A distinguished name in a form in which equal ones are equal."""
    return re.sub(r"\s*([,=+])\s*", r"\1", dn.strip()).lower()


def check_values(options: Options) -> None:
    """Invalid when an option has a value that can't be meant."""
    for group, values in options.items():
        for name, value in values.items():
            _typed(group, name, value)
    ldap = options.get("ldap", {})
    urls = str(ldap.get("url") or "")
    if _typed("ldap", "use_tls", ldap.get("use_tls")) and "ldaps://" in urls.lower():
        raise Invalid("The options use_tls and an ldaps:// url exclude each other: say ldap:// or leave use_tls out.", field="use_tls")


def _typed(group: str, name: str, value: Any) -> Any:
    """The value as its default's kind; the default for None."""
    default = DEFAULTS[group].get(name)
    if value is None:
        return default
    wrong = Invalid(f"Invalid domain specific configuration: {value!r} is no value of the option {group}.{name}.", field=name)
    if (group, name) in CHOICES:
        if value not in CHOICES[group, name]:
            raise Invalid(f"{wrong.message[:-1]}; there are {', '.join(CHOICES[group, name])}.", field=name)
        return value
    if isinstance(default, bool) or name == "chase_referrals":
        if isinstance(value, bool):
            return value
        if str(value).lower() in (*TRUE, *FALSE):
            return str(value).lower() in TRUE
        raise wrong
    if isinstance(default, int | float):
        if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", str(value)):
            raise wrong
        return type(default)(float(value))
    if isinstance(default, list):
        values = value.split(",") if isinstance(value, str) else value
        if not isinstance(values, list):
            raise wrong
        return [str(one).strip() for one in values]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Invalid(f"Invalid domain specific configuration: the option {group}.{name} is text.", field=name)
    return str(value)


def directory_options(options: Options) -> DirectoryOptions | None:
    """What to ask of a domain's directory; None for a domain that has none. Invalid where it can't be asked."""
    if options.get("identity", {}).get("driver") != "ldap":
        return None
    given = options.get("ldap", {})
    ldap = {name: _typed("ldap", name, given.get(name)) for name in DEFAULTS["ldap"]}
    urls = tuple(one.strip() for one in str(ldap["url"]).split(",") if one.strip())
    if not urls or not all(re.fullmatch(r"ldaps?://[^\s/?#@]+/?", one, re.IGNORECASE) for one in urls):
        raise Invalid("The domain's option ldap.url is no address of a directory: ldap://HOST:PORT or ldaps://HOST:PORT.", field="url")
    timeout = float(ldap["pool_connection_timeout"])
    return DirectoryOptions(
        urls=urls,
        user=ldap["user"],
        password=None if given.get("password") is None else str(given["password"]),
        subtree=ldap["query_scope"] == "sub",
        page_size=max(0, ldap["page_size"]),
        aliases=ldap["alias_dereferencing"],
        referrals=bool(ldap["chase_referrals"]),
        start_tls=ldap["use_tls"],
        certificates=ldap["tls_cacertfile"] or ldap["tls_cacertdir"],
        require_certificate=ldap["tls_req_cert"] == "demand",
        timeout=timeout if timeout > 0 else 5.0,
        users=_tree(ldap, "user", ("mail", "description")),
        groups=_tree(ldap, "group", ("desc",)),
        enabling=Enabling(
            attribute=ldap["user_enabled_attribute"],
            mask=ldap["user_enabled_mask"],
            default=str(ldap["user_enabled_default"]),
            invert=ldap["user_enabled_invert"],
            emulation=_emulation(ldap),
        ),
        member=ldap["group_member_attribute"],
        members_are_ids=ldap["group_members_are_ids"],
    )


def _emulation(ldap: dict[str, Any]) -> str | None:
    if not ldap["user_enabled_emulation"]:
        return None
    return ldap["user_enabled_emulation_dn"] or f"cn=enabled_users,{_base(ldap, 'user')}"


def _base(ldap: dict[str, Any], kind: str) -> str:
    return ldap[f"{kind}_tree_dn"] or f"ou={'Users' if kind == 'user' else 'UserGroups'},{ldap['suffix']}"


SHOWN = {"mail": "email", "desc": "description"}
"""Our names of attributes whose options are called otherwise."""


def _tree(ldap: dict[str, Any], kind: str, optional: tuple[str, ...]) -> Tree:
    ignored = set(ldap[f"{kind}_attribute_ignore"])
    attributes = {SHOWN.get(one, one): ldap[f"{kind}_{one}_attribute"] for one in optional if ldap[f"{kind}_{one}_attribute"]}
    for one in ldap[f"{kind}_additional_attribute_mapping"]:
        theirs, colon, ours = one.partition(":")
        if not colon or not theirs or not ours:
            raise Invalid(f"{one!r} in ldap.{kind}_additional_attribute_mapping is not ATTRIBUTE_OF_LDAP:ATTRIBUTE.", field="ldap")
        attributes[ours] = theirs
    text = ldap[f"{kind}_filter"] or ""
    return Tree(
        base=_base(ldap, kind),
        objectclass=ldap[f"{kind}_objectclass"],
        filter=text if not text or text.startswith("(") else f"({text})",
        id=ldap[f"{kind}_id_attribute"],
        name=ldap[f"{kind}_name_attribute"],
        attributes={ours: theirs for ours, theirs in attributes.items() if ours not in ignored},
    )


def wanted_attributes(options: DirectoryOptions, tree: Tree) -> list[str]:
    """What is read of an entry."""
    more = [options.member] if tree is options.groups else [options.enabling.attribute]
    return sorted({tree.id, tree.name, *tree.attributes.values(), *more})


def query(tree: Tree, **where: str) -> str:
    """The filter of a tree's entries; `where`: attribute or our name (`id`, `name`) -> value."""
    parts = [tree.filter, f"(objectClass={escaped(tree.objectclass)})"]
    for name, value in where.items():
        parts.append(f"({ {'id': tree.id, 'name': tree.name}.get(name, name) }={_value(tree, name, value)})")
    return f"(&{''.join(parts)})"


def _value(tree: Tree, name: str, value: str) -> str:
    if name == "id" and tree.id.lower() in BINARY:
        try:
            return "".join(f"\\{one:02x}" for one in uuid.UUID(value).bytes_le)
        except ValueError:
            pass
    return escaped(value)


def users_of(options: DirectoryOptions, entries: Iterable[Entry], enabled: set[str] | None = None) -> list[DirectoryUser]:
    """The users that entries are. `enabled`: the names of who may log in, where a group says that."""
    found: list[DirectoryUser] = []
    for entry in entries:
        local_id, name = entry.text(options.users.id), entry.text(options.users.name)
        if not local_id or not name or len(name) > 255:
            continue
        extra = {ours: value for ours, theirs in options.users.attributes.items() if (value := entry.text(theirs)) is not None}
        may = _may_log_in(options.enabling, entry) if enabled is None else same_name(entry.dn) in enabled
        found.append(DirectoryUser(local_id=local_id, dn=entry.dn, name=name, enabled=may, extra=extra))
    return found


def groups_of(options: DirectoryOptions, entries: Iterable[Entry]) -> list[DirectoryGroup]:
    """The groups that entries are."""
    found: list[DirectoryGroup] = []
    for entry in entries:
        local_id, name = entry.text(options.groups.id), entry.text(options.groups.name)
        if not local_id or not name or len(name) > 255:
            continue
        extra = {ours: value for ours, theirs in options.groups.attributes.items() if (value := entry.text(theirs)) is not None}
        description = extra.pop("description", "")
        members = tuple(entry.texts(options.member))
        found.append(DirectoryGroup(local_id=local_id, dn=entry.dn, name=name, description=description, members=members, extra=extra))
    return found


def _may_log_in(enabling: Enabling, entry: Entry) -> bool:
    value = entry.text(enabling.attribute)
    text = enabling.default if value is None else value
    if enabling.mask:
        number = int(text) if re.fullmatch(r"-?\d{1,18}", text) else 0
        return number & enabling.mask != enabling.mask
    yes = text.strip().lower() in TRUE or (text.strip().lstrip("-").isdecimal() and int(text) != 0)
    return yes != enabling.invert


class Plan(Model, frozen=True, kw_only=True):
    """What must be written so that rows are as the directory is, by id."""

    note: dict[str, DirectoryUser | DirectoryGroup]
    insert: dict[str, dict[str, Any]]
    update: dict[str, dict[str, Any]]
    gone: list[str]

    @property
    def due(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.note or self.insert or self.update or self.gone)


def planned(
    seen: Mapping[str, DirectoryUser | DirectoryGroup], entries: Mapping[str, DirectoryId], rows: Mapping[str, User | Group], complete: bool
) -> Plan:
    """What changes when the directory has `seen`, and rows and entries are as they are. `complete`: it has no others.

    Of two that are called alike the first one counts: which of them a name means can't be known.
    """
    first: dict[str, str] = {}
    for key, one in seen.items():
        first.setdefault(one.name, key)
    wanted = {key: _fields(one) for key, one in seen.items() if first[one.name] == key}
    changed = {key: {name: value for name, value in fields.items() if getattr(rows[key], name) != value}
               for key, fields in wanted.items() if key in rows}  # fmt: skip
    return Plan(
        note={key: seen[key] for key in wanted if key not in entries or entries[key].dn != seen[key].dn},
        insert={key: fields for key, fields in wanted.items() if key not in rows},
        update={key: changes for key, changes in changed.items() if changes},
        gone=[key for key in entries if key in rows and key not in wanted] if complete else [],
    )


def _fields(one: DirectoryUser | DirectoryGroup) -> dict[str, Any]:
    if isinstance(one, DirectoryUser):
        return {"name": one.name, "enabled": one.enabled, "extra": dict(one.extra)}
    return {"name": one.name, "description": one.description, "extra": dict(one.extra)}
