"""A plan of faults: what is accepted, what is refused by the name of its field, how it is kept."""

from pathlib import Path

import pytest

from pileus.model.errors import Invalid
from pileus.simulation.plan import FaultPlan, HostFault, Kept, Operation, Operations, keep, kept, read

WHOLE = """
[operations.build]
takes = [15, 25.5]
fails = 0.05
error = "The disk is full."

[operations.stop]
takes = 3

[placement]
fails = 1

[api]
refuses = 0.01
status = 500
slow = 0.5
delay = 0.25

[[hosts]]
host = 3
at = 60
for = 30
"""

WRONG = [
    ("[operations.build]\nfails = 1.5", "operations.build.fails: Expected `float` <= 1.0"),
    ("[operations.build]\nfails = -0.1", "operations.build.fails: Expected `float` >= 0.0"),
    ("[operations.build]\ntakes = 241", "operations.build.takes: Expected `float` <= 240.0"),
    ("[operations.build]\ntakes = 'long'", "operations.build.takes: Expected `float | array`, got `str`"),
    ("[operations.build]\ntakes = [1, 2, 3]", "operations.build.takes: Expected `array` of length <= 2"),
    ("[operations.build]\ntakes = [3, 2]", "operations.build.takes: [3, 2] ends before it begins"),
    ("[operations.build]\nfail = 0.5", "operations.build: Object contains unknown field `fail`"),
    ("[operations.built]\nfails = 0.5", "operations: Object contains unknown field `built`"),
    ("[api]\nservices = ['computer']", "api.services: 'computer' is none of identity, image"),
    ("[api]\nstatus = 200", "api.status: Expected `int` >= 400"),
    ("[[hosts]]\nhost = 4\nat = 1\nfor = 1", "hosts[0].host: there is no host 4, the cloud has 3"),
    ("[[hosts]]\nhost = 0\nat = 1\nfor = 1", "hosts[0].host: Expected `int` >= 1"),
    ("[[hosts]]\nhost = 1\nat = 1", "hosts[0]: Object missing required field `for`"),
    ("faults = 1", "the file: Object contains unknown field `faults`"),
    ("[api", "is not TOML"),
]


def written(directory: Path, text: str) -> Path:
    file = directory / "faults.toml"
    file.write_text(text)
    return file


def test_a_whole_plan_is_read(tmp_path: Path) -> None:
    plan = read(written(tmp_path, WHOLE), hosts=3)
    assert plan.operations == Operations(
        build=Operation(takes=[15.0, 25.5], fails=0.05, error="The disk is full."), stop=Operation(takes=3.0)
    )
    assert (plan.placement.fails, plan.api.refuses, plan.api.status, plan.api.slow, plan.api.delay) == (1.0, 0.01, 500, 0.5, 0.25)
    assert plan.hosts == [HostFault(host=3, at=60.0, seconds=30.0)]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(written(tmp_path, text), hosts=3)
    assert words in refused.value.message and str(tmp_path) in refused.value.message


def test_a_file_that_is_not_there_or_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        read(tmp_path / "none.toml", hosts=1)
    with pytest.raises(Invalid, match="too many"):
        read(written(tmp_path, "#" * (1 << 21)), hosts=1)


def test_it_is_kept_and_forgotten(tmp_path: Path) -> None:
    assert kept(tmp_path) is None
    whole = Kept(seed=7, plan=read(written(tmp_path, WHOLE), hosts=3))
    keep(tmp_path, whole)
    assert kept(tmp_path) == whole
    keep(tmp_path, Kept(plan=FaultPlan()))
    assert kept(tmp_path) is None


def test_a_kept_plan_that_is_damaged_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text("{")
    with pytest.raises(Invalid, match="say --faults FILE again"):
        kept(tmp_path)
