"""What a domain's directory (LDAP) says of its users and groups, and which rows of ours stand for them."""

from pileus.model.base import Model


class DirectoryUser(Model, frozen=True, kw_only=True):
    """A user as the directory has it. `local_id` is the directory's own id, `dn` the distinguished name."""

    local_id: str
    dn: str
    name: str
    enabled: bool
    extra: dict[str, str] = {}


class DirectoryGroup(Model, frozen=True, kw_only=True):
    """A group as the directory has it. `members`: distinguished names, or ids, as the domain's options say."""

    local_id: str
    dn: str
    name: str
    description: str = ""
    members: tuple[str, ...] = ()
    extra: dict[str, str] = {}


class DirectoryId(Model, frozen=True, kw_only=True):
    """That a user or a group of ours stands for an entry of its domain's directory. `kind` is user or group."""

    id: str
    domain_id: str
    kind: str
    local_id: str
    dn: str
