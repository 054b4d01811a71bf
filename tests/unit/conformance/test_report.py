"""What the conformance command makes of the suites' output."""

from pathlib import Path

import pytest

from pileus.model.errors import Invalid, Unavailable
from tests.conformance import command, environment, outcome, report, skips, suites

OUTPUT = """\
{0} tempest.api.image.test_a.One.test_good [0.1s] ... ok
{1} tempest.api.image.test_a.One.test_bad [12.034s] ... FAILED
    a line of the log ... ok
{0} tempest.api.image.test_a.One.test_volume ... SKIPPED: Skipped because the volume service is not available
{0} setUpClass (tempest.api.image.test_b.Two) ... SKIPPED: something new
{1} setUpClass (tempest.api.image.test_c.Three) ... FAILED
"""
A, B, C = (f"tempest.api.image.test_{name}" for name in "abc")
LISTED = [f"{A}.One.test_good[id-1,smoke]", f"{A}.One.test_bad", f"{A}.One.test_volume", f"{A}.One.test_lost",
          f"{B}.Two.test_x", f"{B}.Two.test_y", f"{C}.Three.test_z"]  # fmt: skip
ABOUT = {"date": "2026-01-02", "versions": {"tempest": "47.0.0"}, "command": "./pileus test conformance image --write"}


def found() -> outcome.Outcome:
    return outcome.read("Tempest", OUTPUT, LISTED)


def test_each_test_counts_once_and_a_class_for_each_of_its_tests() -> None:
    one = found()
    assert one.passed == [f"{A}.One.test_good"]
    assert one.failed == [f"{A}.One.test_bad", f"{C}.Three.test_z"]
    assert sorted(one.skipped) == [f"{A}.One.test_volume", f"{B}.Two.test_x", f"{B}.Two.test_y"]
    assert one.lost == [f"{A}.One.test_lost"]
    assert not one.good


@pytest.mark.parametrize(("lines", "good"), [([0], True), ([0, 2], True), ([2], True), ([0, 1], False), ([], False)])
def test_a_run_is_good_when_nothing_failed_and_something_ran(lines: list[int], good: bool) -> None:
    text = "\n".join(OUTPUT.splitlines()[number + (number > 1)] for number in lines)
    assert outcome.read("x", text, [LISTED[number] for number in lines]).good is good


def test_a_skip_without_a_reason_of_ours_is_shown_first_as_unexplained() -> None:
    assert list(report.skips([found()])) == [skips.UNEXPLAINED, "needs volumes: Block Storage is not there yet"]
    page = report.page("image", [found()], ABOUT)
    assert page.index("### Unexplained (2)") < page.index("### Needs volumes: Block Storage is not there yet (1)")
    assert f"* Tempest: `{A}.One.test_bad`" in page and "tempest 47.0.0" in page and "| Tempest | 1 | 3 | 3 |" in page
    assert "something new" in page and ABOUT["command"] in page


def test_a_page_says_when_all_is_well() -> None:
    page = report.page("image", [outcome.read("Tempest", OUTPUT.splitlines()[0], LISTED[:1])], ABOUT)
    assert "Nothing failed." in page and "Nothing was skipped." in page


def test_people_and_programs_are_told_the_same() -> None:
    text = report.people([found()])
    assert f"FAILED   {A}.One.test_bad" in text and f"NOT RUN  {A}.One.test_lost" in text and "skipped  2: unexplained" in text
    said = report.program("image", [found()], ABOUT)
    assert said["suites"][0]["failed"] == [f"{A}.One.test_bad", f"{C}.Three.test_z"] and said["good"] is False
    assert {one["reason"] for one in said["suites"][0]["skipped"]} == set(report.skips([found()]))


def test_names_of_a_list_are_read_without_tags_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"# a guideline\n{LISTED[0]}\n\n{A}.One.test_bad  # why\n")
    assert command.names(file) == {f"{A}.One.test_good", f"{A}.One.test_bad"}
    assert command.names(None) is None


def test_a_page_names_the_command_without_places() -> None:
    assert (
        command.as_called("image", ("tempest",), {"regex": "a b", "list": None})
        == "./pileus test conformance image --tempest --regex 'a b'"
    )


def test_a_regular_expression_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="no regular expression"):
        command.pattern("(")


def test_every_suite_has_a_folder_of_its_own() -> None:
    for service, chosen in suites.SERVICES.items():
        assert len({one.folder for one in chosen}) == len(chosen), service


def test_what_can_not_be_installed_is_told_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tmp_path / "requirements.txt"
    wanted.write_text(f"nothing @ file://{tmp_path}/nothing-1.0-py3-none-any.whl\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", wanted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Unavailable, match=r"can't be installed into .*PIP_INDEX_URL"):
        environment.prepare()
    assert not environment.directory().exists()


def test_a_part_that_ran_on_another_cloud_completes_the_whole() -> None:
    whole, name = (
        outcome.Outcome("Tempest", passed=["a.b", "a.c"], skipped={"a.format": "no set", "a.remote": "no second", "a.volume": "none"}),
        "x",
    )
    part = outcome.Outcome(name, passed=["a.format(one)", "a.format(two)", "a.b"], failed=["a.remote"], seconds=2.0)
    whole.complete(part, "another cloud")
    assert whole.passed == ["a.b", "a.c", "a.format(one)", "a.format(two)"]
    assert (whole.failed, list(whole.skipped), whole.seconds) == (["a.remote"], ["a.volume"], 2.0)
    assert report.elsewhere([whole]) == ["4 of Tempest's tests ask for other settings: they ran on another cloud."]


def test_a_test_that_runs_for_each_of_several_images_keeps_its_image() -> None:
    assert outcome.bare(f"{A}.One.test_x[id-1,smoke](qcow2)") == f"{A}.One.test_x(qcow2)"
    assert outcome.bare(f"{A}.One.test_x(qcow2)[id-1]") == f"{A}.One.test_x(qcow2)"


def test_what_completes_a_suite_names_one_that_there_is() -> None:
    for service, chosen in suites.SERVICES.items():
        titles = {one.title for one in chosen}
        assert all(one.completes in titles and one.kind in suites.KINDS for one in chosen if one.completes), service
