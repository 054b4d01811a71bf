"""What roles mean."""

from hypothesis import given
from hypothesis import strategies as st

from pileus.core.roles import effective, with_implied, would_cycle
from pileus.model.assignments import Actor, Assignment, Target

LADDER = {"admin": {"manager"}, "manager": {"member"}, "member": {"reader"}}
GRAPHS = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")))


def test_a_role_implies_over_several_steps() -> None:
    assert with_implied(["manager"], LADDER) == {"manager", "member", "reader"}


@given(GRAPHS, st.sets(st.sampled_from("abcdef")))
def test_implied_roles_are_closed_and_need_no_second_look(graph: dict[str, set[str]], start: set[str]) -> None:
    found = with_implied(start, graph)
    assert start <= found
    assert all(graph.get(role, set()) <= found for role in found)
    assert with_implied(found, graph) == found


def test_a_cycle_is_seen_before_it_is_made() -> None:
    assert would_cycle("reader", "admin", LADDER)
    assert would_cycle("reader", "reader", LADDER)
    assert not would_cycle("admin", "reader", LADDER)


def assignment(**rest: object) -> Assignment:
    given = {"actor": Actor.USER, "actor_id": "u", "target": Target.PROJECT, "target_id": "p", "role_id": "member"}
    return Assignment(**{**given, **rest})  # pyright: ignore[reportArgumentType]


def test_members_of_a_group_have_its_roles_and_what_they_imply() -> None:
    found = effective([assignment(actor=Actor.GROUP, actor_id="g")], {"g": ["u1", "u2"]}, {}, LADDER)
    assert [(one.user_id, one.role_id, one.prior_role_id) for one in found] == [
        ("u1", "member", None),
        ("u1", "reader", "member"),
        ("u2", "member", None),
        ("u2", "reader", "member"),
    ]


def test_an_inherited_role_holds_below_and_not_where_it_was_given() -> None:
    found = effective([assignment(target=Target.DOMAIN, target_id="d", inherited=True)], {}, {"d": ["p1", "p2"]}, {})
    assert [(one.target, one.target_id) for one in found] == [(Target.PROJECT, "p1"), (Target.PROJECT, "p2")]
