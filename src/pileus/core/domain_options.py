"""The options that a domain may have of its own: their groups, names and defaults, as Keystone documents them."""

from typing import Any

from pileus.model.errors import Forbidden

DEFAULTS: dict[str, dict[str, Any]] = {
    "identity": {"driver": "sql", "list_limit": None},
    "ldap": {
        "url": "ldap://localhost", "user": None, "suffix": "cn=example,cn=com", "query_scope": "one", "page_size": 0,
        "alias_dereferencing": "default", "debug_level": None, "chase_referrals": None,
        "user_tree_dn": None, "user_filter": None, "user_objectclass": "inetOrgPerson", "user_id_attribute": "cn",
        "user_name_attribute": "sn", "user_mail_attribute": "mail", "user_description_attribute": "description",
        "user_pass_attribute": "userPassword", "user_enabled_attribute": "enabled", "user_enabled_invert": False,
        "user_enabled_mask": 0, "user_enabled_default": "True", "user_attribute_ignore": ["default_project_id"],
        "user_default_project_id_attribute": None, "user_enabled_emulation": False, "user_enabled_emulation_dn": None,
        "user_enabled_emulation_use_group_config": False, "user_additional_attribute_mapping": [],
        "group_tree_dn": None, "group_filter": None, "group_objectclass": "groupOfNames", "group_id_attribute": "cn",
        "group_name_attribute": "ou", "group_members_are_ids": False, "group_member_attribute": "member",
        "group_desc_attribute": "description", "group_attribute_ignore": [], "group_additional_attribute_mapping": [],
        "tls_cacertfile": None, "tls_cacertdir": None, "use_tls": False, "tls_req_cert": "demand",
        "use_pool": True, "pool_size": 10, "pool_retry_max": 3, "pool_retry_delay": 0.1, "pool_connection_timeout": -1,
        "pool_connection_lifetime": 600, "use_auth_pool": True, "auth_pool_size": 100, "auth_pool_connection_lifetime": 60,
    },
}  # fmt: skip
SECRET = {("ldap", "password")}
"""Options that can be set, but are never shown."""
Options = dict[str, dict[str, Any]]


def check_name(group: str | None, option: str | None = None) -> None:
    """Forbidden for a group or an option that no domain can have."""
    if group is not None and group not in DEFAULTS:
        raise Forbidden(f"Invalid domain specific configuration: the group {group} is not supported; there are {', '.join(DEFAULTS)}.")
    if group is not None and option is not None and option not in DEFAULTS[group] and (group, option) not in SECRET:
        raise Forbidden(f"Invalid domain specific configuration: the group {group} has no option {option}.")


def check_options(given: dict[str, Any]) -> Options:
    """The options by group; Forbidden when there are none, or some that no domain can have."""
    if not given:
        raise Forbidden("Invalid domain specific configuration: no options were given.")
    for group, options in given.items():
        check_name(group)
        if not isinstance(options, dict) or not options:
            raise Forbidden(f"Invalid domain specific configuration: the value of group {group} must be an object of options.")
        for option in options:  # pyright: ignore[reportUnknownVariableType]
            check_name(group, str(option))  # pyright: ignore[reportUnknownArgumentType]
    return given


def check_update(given: dict[str, Any], group: str | None, option: str | None) -> Options:
    """The options that an update of everything, of one group or of one option may write; Forbidden when it names others."""
    check_name(group, option)
    options = check_options({group: given} if group is not None and option is not None else given)
    if group is not None and set(options) != {group}:
        raise Forbidden(f"Invalid domain specific configuration: an update of the group {group} must name that group and no other.")
    if group is not None and option is not None and set(options[group]) != {option}:
        raise Forbidden(f"Invalid domain specific configuration: an update of the option {option} must name that option and no other.")
    return options


def shown(options: Options) -> Options:
    """The options without those that are secret; a group of which nothing is left is not shown."""
    kept = {group: {name: value for name, value in values.items() if (group, name) not in SECRET} for group, values in options.items()}
    return {group: values for group, values in kept.items() if values}


def selected(options: Options, group: str | None, option: str | None) -> Options | dict[str, Any] | None:
    """All of it, one group with its name, or one option; None when it is not there."""
    if group is None:
        return options or None
    if group not in options:
        return None
    if option is None:
        return {group: options[group]}
    return {option: options[group][option]} if option in options[group] else None
