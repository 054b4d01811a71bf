"""What customers were told, against what is there."""

from typing import Any

from pileus.simulation.ledger import Ledger


def server(name: str = "a", status: str = "ACTIVE", task: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": f"id of {name}", "name": name, "status": status, "OS-EXT-STS:task_state": task, "metadata": {}, **more}


def ledger(*told: tuple[str, bool]) -> Ledger:
    made = Ledger()
    for at, (what, certain) in enumerate(told):
        made.take("a", what, float(at), certain, mark="m")
    return made


def test_what_was_accepted_must_be_so() -> None:
    assert ledger(("create", True)).problems([server()], {}) == []
    assert ledger(("create", True)).problems([], {}) == ["a should be there"]
    assert ledger(("create", True), ("delete", True)).problems([server()], {}) == ["a should not be there"]
    assert ledger(("create", True), ("os-stop", True)).problems([server()], {}) == ["a is ACTIVE, should be one of ['SHUTOFF']"]
    assert ledger(("create", True), ("mark", True)).problems([server()], {}) == ["a has the mark None, should have one of ['m']"]


def test_what_was_never_answered_may_be_so() -> None:
    for found in ([], [server()]):
        assert ledger(("create", False)).problems(found, {}) == []
    for status in ("ACTIVE", "SHUTOFF"):
        assert ledger(("create", True), ("os-stop", False)).problems([server(status=status)], {}) == []


def test_a_server_that_was_cut_off_since_may_be_off_and_one_before_may_not() -> None:
    told = ledger(("create", True), ("os-start", True), ("mark", False))
    assert told.problems([server(status="SHUTOFF")], {"id of a": 1.5}) == []
    assert told.problems([server(status="SHUTOFF")], {"id of a": 0.5}) == ["a is SHUTOFF, should be one of ['ACTIVE']"]


def test_an_error_needs_its_reason_and_nothing_may_still_be_under_way() -> None:
    told = ledger(("create", True))
    assert told.problems([server(status="ERROR", fault={"message": "No space."})], {}) == []
    assert told.problems([server(status="ERROR")], {}) == ["a is in ERROR without a reason"]
    assert told.problems([server(task="rebooting")], {}) == ["a is ACTIVE and still rebooting"]


def test_nothing_is_there_that_nobody_asked_for_or_twice() -> None:
    assert ledger().problems([server("b")], {}) == ["b is there, and nobody was told so"]
    assert "a server is there twice" in ledger(("create", True)).problems([server(), server()], {})


def test_after_a_look_it_is_known_how_it_is() -> None:
    told = ledger(("create", True), ("os-stop", False))
    told.settle([server(status="SHUTOFF")])
    assert told.problems([server()], {}) == ["a is ACTIVE, should be one of ['SHUTOFF']"]
