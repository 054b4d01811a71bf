"""What rules make of an assertion: a table of examples, and what holds of any."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core.mapping_engine import Mapped, evaluate, unique_id, values_of
from pileus.core.mapping_rules import MappedUser, check_rules
from pileus.model.errors import Unauthorized

ALICE = values_of({"sub": "a-1", "name": "alice", "mail": "alice@example.org", "groups": "dev;ops;dev", "kind": "staff", "empty": ""})
HOME = {"name": "home"}
NAMED = {"user": {"name": "{0}"}}


def mapped(local: list[dict[str, Any]], remote: list[dict[str, Any]], version: str = "1.0", said: Any = None) -> Mapped:
    rules = [{"local": local, "remote": remote}]
    check_rules(rules, version)
    return evaluate(rules, version, ALICE if said is None else said)


def groups(one: Mapped) -> list[tuple[str, str | None]]:
    return [(group.name, group.domain.id or group.domain.name) for group in one.groups]


WHO = {"type": "name"}


@pytest.mark.parametrize(
    ("remote", "applies"),
    [
        ({"type": "kind"}, True),
        ({"type": "missing"}, False),
        ({"type": "empty"}, True),
        ({"type": "kind", "any_one_of": ["staff", "guest"]}, True),
        ({"type": "kind", "any_one_of": ["guest"]}, False),
        ({"type": "kind", "any_one_of": []}, False),
        ({"type": "kind", "any_one_of": ["^st"], "regex": True}, True),
        ({"type": "kind", "any_one_of": ["^st"]}, False),
        ({"type": "kind", "any_one_of": ["af"], "regex": True}, True),
        ({"type": "groups", "any_one_of": ["ops"]}, True),
        ({"type": "kind", "not_any_of": ["guest"]}, True),
        ({"type": "kind", "not_any_of": ["staff"]}, False),
        ({"type": "missing", "not_any_of": ["staff"]}, False),
        ({"type": "groups", "not_any_of": ["^o"], "regex": True}, False),
        ({"type": "groups", "whitelist": ["nobody"]}, True),
        ({"type": "missing", "whitelist": ["nobody"]}, False),
    ],
)
def test_a_rule_applies_when_everything_remote_holds(remote: dict[str, Any], applies: bool) -> None:
    if applies:
        assert mapped([NAMED], [WHO, remote]).user.name == "alice"
    else:
        with pytest.raises(Unauthorized, match="None of the mapping's rules"):
            mapped([NAMED], [WHO, remote])


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ({"type": "groups"}, ["dev", "ops"]),
        ({"type": "groups", "whitelist": ["ops", "admins"]}, ["ops"]),
        ({"type": "groups", "blacklist": ["ops"]}, ["dev"]),
        ({"type": "groups", "whitelist": ["^d"], "regex": True}, ["dev"]),
        ({"type": "groups", "blacklist": ["^d"], "regex": True}, ["ops"]),
        ({"type": "groups", "whitelist": ["admins"]}, []),
        ({"type": "kind"}, ["staff"]),
    ],
)
def test_groups_are_what_the_lists_leave(remote: dict[str, Any], expected: list[str]) -> None:
    one = mapped([NAMED, {"groups": "{1}", "domain": HOME}], [WHO, remote])
    assert groups(one) == [(name, "home") for name in expected]
    assert mapped([NAMED, {"group_ids": "{1}"}], [WHO, remote]).group_ids == expected


def test_conditions_fill_no_placeholder() -> None:
    remote = [{"type": "kind", "any_one_of": ["staff"]}, WHO, {"type": "kind", "not_any_of": ["x"]}, {"type": "mail"}]
    one = mapped([{"user": {"name": "{0}", "email": "<{1}>", "id": "{0}-{1}"}}], remote)
    assert (one.user.name, one.user.email, one.user.id, one.user.type) == (
        "alice",
        "<alice@example.org>",
        "alice-alice@example.org",
        "ephemeral",
    )


def test_a_group_is_named_by_id_or_by_name_and_domain() -> None:
    local = [NAMED, {"group": {"id": "g1"}}, {"group": {"name": "{1}s", "domain": {"id": "d1"}}}, {"group_ids": "['g1', 'g2']"}]
    one = mapped(local, [WHO, {"type": "kind"}])
    assert (one.group_ids, groups(one)) == (["g1", "g2"], [("staffs", "d1")])


def test_a_group_may_bring_its_domain_as_json() -> None:
    said = {"name": ["a"], "groups": ['JSON:{"name": "g", "domain": {"name": "d"}}']}
    assert groups(mapped([NAMED, {"groups": "{1}"}], [WHO, {"type": "groups"}], said=said)) == [("g", "d")]
    with pytest.raises(Unauthorized, match="JSON"):
        mapped([NAMED, {"groups": "{1}"}], [WHO, {"type": "groups"}], said={"name": ["a"], "groups": ["JSON:[]"]})
    with pytest.raises(Unauthorized, match="domain"):
        mapped([NAMED, {"groups": "{1}"}], [WHO, {"type": "groups"}])


def test_several_rules_add_up_and_the_first_user_counts() -> None:
    rules = [
        {"local": [{"user": {}}, {"group": {"id": "all"}}], "remote": [WHO]},
        {"local": [{"user": {"name": "{0}", "type": "local", "domain": {"id": "d"}}}], "remote": [{"type": "mail"}]},
        {"local": [{"user": {"name": "other"}}, {"group": {"id": "never"}}], "remote": [{"type": "missing"}]},
        {"local": [{"user": {"name": "third"}}, {"group": {"id": "third"}}], "remote": [WHO]},
    ]
    one = evaluate(rules, "1.0", ALICE)
    assert (one.user.name, one.user.type, one.group_ids) == ("alice@example.org", "local", ["all", "third"])


PROJECTS = [{"name": "of {0}", "roles": [{"name": "member"}]}, {"name": "p", "roles": [{"name": "reader"}, {"name": "{1}"}]}]


def test_projects_come_with_roles_and_the_last_part_that_names_some_counts() -> None:
    one = mapped([NAMED, {"projects": [PROJECTS[1]]}, {"projects": PROJECTS}], [WHO, {"type": "kind"}])
    assert [(project.name, [role.name for role in project.roles]) for project in one.projects] == [
        ("of alice", ["member"]),
        ("p", ["reader", "staff"]),
    ]
    assert one.projects[0].domain is None


def test_from_version_2_on_a_domain_counts_for_user_and_projects_beside_it() -> None:
    own = {"name": "q", "roles": [], "domain": {"id": "own"}}
    local = [{**NAMED, "projects": [PROJECTS[0], own], "domain": {"name": "{1}-dom"}}]
    one = mapped(local, [WHO, {"type": "kind"}], "2.0")
    assert one.user.domain and one.user.domain.name == "staff-dom"
    assert [project.domain and (project.domain.name or project.domain.id) for project in one.projects] == ["staff-dom", "own"]
    assert mapped([{**NAMED, "domain": HOME}], [WHO], "1.0").user.domain is None
    assert mapped([{**NAMED, "domain": HOME}, {"group": {"id": "g"}}], [WHO], "2.0").user.domain is None  # the last part's counts
    kept = mapped([{"user": {"name": "x", "domain": {"id": "mine"}}, "domain": HOME}], [WHO], "2.0")
    assert kept.user.domain and kept.user.domain.id == "mine"


@pytest.mark.parametrize("place", ["{1}", "1"])
def test_from_version_3_on_projects_may_come_as_json(place: str) -> None:
    said = {"name": ["alice"], "projects": ['[{"name": "p", "roles": [{"name": "member"}]}]']}
    one = mapped([{**NAMED, "projects_json": place, "domain": HOME}], [WHO, {"type": "projects"}], "3.0", said)
    assert [(project.name, project.domain and project.domain.name) for project in one.projects] == [("p", "home")]
    for wrong in ("[1]", "{", '[{"name": "p"}]', '[{"name": "p", "roles": [], "more": 1}]'):
        with pytest.raises(Unauthorized, match="projects_json"):
            mapped([{**NAMED, "projects_json": place}], [WHO, {"type": "projects"}], "3.0", {"name": ["a"], "projects": [wrong]})


@pytest.mark.parametrize("template", ["{1}", "{", "}", "{name}", "{0.__class__}", "{0!r}", "{0:>9}", "{}"])
def test_a_placeholder_for_which_nothing_stands_lets_nobody_in(template: str) -> None:
    with pytest.raises(Unauthorized, match="Rule 0"):
        mapped([{"user": {"name": template}}], [WHO])


def test_who_is_named_by_an_attribute_of_which_nothing_is_left_is_nobody() -> None:
    with pytest.raises(Unauthorized, match="leaves no value"):
        mapped([NAMED], [{"type": "groups", "whitelist": ["admins"]}])
    assert groups(mapped([NAMED, {"group": {"name": "{1}", "domain": HOME}}], [WHO, {"type": "groups", "whitelist": ["x"]}])) == []


def test_words_of_users_are_never_read_as_a_list() -> None:
    said = {"name": ["['root']"], "groups": ["['admins', 'ops']"]}
    one = mapped([NAMED, {"groups": "{1}", "domain": HOME}], [WHO, {"type": "groups"}], said=said)
    assert (one.user.name, groups(one)) == ("['root']", [("['admins', 'ops']", "home")])
    one = mapped([NAMED, {"group_ids": "['{1}']"}], [WHO, {"type": "groups"}], said={"name": ["a"], "groups": ["x','admins"]})
    assert one.group_ids == ["x','admins"]


def test_an_expression_is_not_tried_on_a_value_without_end() -> None:
    remote = [{"type": "name", "not_any_of": ["(a+)+$"], "regex": True}]
    with pytest.raises(Unauthorized, match="longer"):
        mapped([{"user": {"name": "x"}}], remote, said={"name": ["a" * 5000]})
    with pytest.raises(Unauthorized, match="regular expression"):
        mapped([{"user": {"name": "x"}}], [{"type": "name", "any_one_of": ["("], "regex": True}])


def test_a_user_has_an_id_and_a_name_or_is_nobody() -> None:
    assert unique_id(MappedUser(id="a b", name="n"), None) == ("a%20b", "n")
    assert unique_id(MappedUser(id="k"), None) == ("k", "k")
    assert unique_id(MappedUser(name="ö"), "r") == ("%C3%B6", "ö")
    assert unique_id(MappedUser(), "r@x") == ("r%40x", "r@x")
    assert unique_id(MappedUser(id="k"), "r") == ("k", "r")
    with pytest.raises(Unauthorized):
        unique_id(MappedUser(), None)


VALUES = st.lists(st.text(max_size=6), min_size=1, max_size=4)


@given(VALUES, VALUES)
def test_black_and_white_lists_part_the_values(values: list[str], listed: list[str]) -> None:
    said = {"name": ["u"], "g": values}
    white = mapped([NAMED, {"group_ids": "{1}"}], [WHO, {"type": "g", "whitelist": listed}], said=said).group_ids
    black = mapped([NAMED, {"group_ids": "{1}"}], [WHO, {"type": "g", "blacklist": listed}], said=said).group_ids
    assert set(white) | set(black) == set(values) and not set(white) & set(black)
    assert set(white) <= set(listed)


@given(VALUES, VALUES)
def test_any_of_and_none_of_are_opposites(values: list[str], listed: list[str]) -> None:
    def applies(condition: str) -> bool:
        try:
            mapped([{"user": {"name": "u"}}], [{"type": "g", condition: listed}], said={"g": values})
        except Unauthorized:
            return False
        return True

    assert applies("any_one_of") != applies("not_any_of")


@given(st.dictionaries(st.sampled_from(["name", "g", "h"]), VALUES), st.text(max_size=12), st.text(max_size=12))
def test_whatever_is_said_somebody_is_mapped_or_nobody(said: dict[str, list[str]], template: str, other: str) -> None:
    rules = [{"local": [{"user": {"name": template, "id": "{0}"}}, {"groups": other, "domain": HOME}, {"group_ids": template}],
              "remote": [WHO, {"type": "g", "blacklist": ["x"]}]}]  # fmt: skip
    try:
        one = evaluate(rules, "2.0", said)
    except Unauthorized:
        return
    assert one.user.type == "ephemeral" and "name" in said and "g" in said
