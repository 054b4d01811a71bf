"""A domain in LDAP: what its options mean, what is asked, what entries say."""

import hashlib
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core.directories import (
    DirectoryOptions,
    Entry,
    check_values,
    directory_options,
    escaped,
    planned,
    public_id,
    query,
    same_name,
    users_of,
)
from pileus.model.directories import DirectoryId, DirectoryUser
from pileus.model.errors import Invalid
from pileus.model.users import User


def options(**ldap: Any) -> DirectoryOptions:
    found = directory_options({"identity": {"driver": "ldap"}, "ldap": {"suffix": "dc=x", **ldap}})
    assert found is not None
    return found


def entry(**attributes: bytes) -> Entry:
    return Entry(dn="cn=a,ou=Users,dc=x", attributes={"cn": [b"a"], "sn": [b"A"], **{name: [one] for name, one in attributes.items()}})


def enabled(one: Entry, **ldap: Any) -> bool:
    [user] = users_of(options(**ldap), [one])
    return user.enabled


def test_a_domain_without_the_driver_has_no_directory() -> None:
    assert directory_options({}) is None
    assert directory_options({"identity": {"driver": "sql"}, "ldap": {"url": "ldap://x"}}) is None


def test_defaults_are_keystones() -> None:
    found = options()
    assert (found.urls, found.users.base, found.groups.base) == (("ldap://localhost",), "ou=Users,dc=x", "ou=UserGroups,dc=x")
    assert (found.users.id, found.users.name, found.users.objectclass, found.member) == ("cn", "sn", "inetOrgPerson", "member")
    assert found.require_certificate and not found.subtree and not found.referrals and not found.start_tls


def test_values_may_be_text_as_in_a_file_of_keystones() -> None:
    found = options(use_tls="true", page_size="50", user_enabled_mask="2", chase_referrals="False", pool_connection_timeout="3")
    assert (found.start_tls, found.page_size, found.enabling.mask, found.referrals, found.timeout) == (True, 50, 2, False, 3.0)


@pytest.mark.parametrize("url", ["", "https://x", "ldap://", "ldap://user@host", "ldap://x/dc=y??sub"])
def test_an_address_that_is_none_of_a_directory_is_told_when_it_is_asked(url: str) -> None:
    with pytest.raises(Invalid):
        options(url=url)


def test_options_never_show_the_password() -> None:
    found = options(password="a secret", user="cn=admin")
    assert "a secret" not in repr(found) and found.password == "a secret"


def test_a_choice_that_is_none_is_refused_with_the_choices() -> None:
    with pytest.raises(Invalid, match="demand, allow, never"):
        check_values({"ldap": {"tls_req_cert": "sometimes"}})


def test_ids_are_keystones() -> None:
    assert public_id("default", "user", "alice") == hashlib.sha256(b"defaultuseralice").hexdigest()


@given(st.text())
def test_whatever_a_name_is_it_stays_a_value_of_the_filter(name: str) -> None:
    text = query(options().users, name=name)
    inner = text.removeprefix("(&(objectClass=inetOrgPerson)(sn=").removesuffix("))")
    assert not set(inner) & set("()*\0")
    assert (
        inner.replace("\\28", "(").replace("\\29", ")").replace("\\2a", "*").replace("\\00", "\0").replace("\\5c", "\\") == name
        or "\\" in name
    )
    assert escaped(name) == inner


def test_a_filter_of_the_domain_stands_beside_ours() -> None:
    found = options(user_filter="memberOf=cn=cloud", user_id_attribute="uid")
    assert query(found.users, id="a") == "(&(memberOf=cn=cloud)(objectClass=inetOrgPerson)(uid=a))"


def test_an_id_of_active_directory_is_a_uuid_there_and_back() -> None:
    found = options(user_id_attribute="objectGUID")
    key = uuid.uuid4()
    [user] = users_of(found, [entry(objectguid=key.bytes_le)])
    assert user.local_id == str(key)
    assert query(found.users, id=user.local_id).endswith("(objectGUID=" + "".join(f"\\{one:02x}" for one in key.bytes_le) + "))")


def test_who_may_log_in_as_active_directory_says_it() -> None:
    flags = {"user_enabled_attribute": "userAccountControl", "user_enabled_mask": 2, "user_enabled_default": "512"}
    assert enabled(entry(useraccountcontrol=b"512"), **flags)
    assert not enabled(entry(useraccountcontrol=b"514"), **flags)
    assert enabled(entry(), **flags)


def test_who_may_log_in_by_a_lock() -> None:
    lock = {"user_enabled_attribute": "nsAccountLock", "user_enabled_invert": True, "user_enabled_default": "False"}
    assert not enabled(entry(nsaccountlock=b"TRUE"), **lock)
    assert enabled(entry(nsaccountlock=b"FALSE"), **lock)
    assert enabled(entry(), **lock)


def test_an_entry_without_an_id_or_a_name_is_nobody() -> None:
    assert users_of(options(), [Entry(dn="cn=a", attributes={"cn": [b"a"]}), Entry(dn="sn=b", attributes={"sn": [b"b"]})]) == []


def test_what_is_shown_of_a_user_is_what_the_options_name() -> None:
    found = options(user_additional_attribute_mapping=["title:job"], user_attribute_ignore="email")
    [user] = users_of(found, [entry(mail=b"a@x", title=b"Boss", description=b"words")])
    assert user.extra == {"job": "Boss", "description": "words"}


def test_equal_names_are_equal() -> None:
    assert same_name("CN=Alice, OU = People,dc=X") == same_name("cn=alice,ou=people,DC=x")


def test_what_is_as_it_was_is_not_written() -> None:
    one = DirectoryUser(local_id="a", dn="cn=a", name="a", enabled=True)
    key = public_id("d", "user", "a")
    noted = DirectoryId(id=key, domain_id="d", kind="user", local_id="a", dn="cn=a")
    row = User(id=key, name="a", domain_id="d")
    assert not planned({key: one}, {key: noted}, {key: row}, complete=True).due
    assert planned({}, {key: noted}, {key: row}, complete=True).gone == [key]
    assert not planned({}, {key: noted}, {key: row}, complete=False).due
    other = DirectoryUser(local_id="b", dn="cn=b", name="a", enabled=True)
    assert not planned({key: one, "b": other}, {key: noted}, {key: row}, complete=True).due, "of two with a name the first counts"
