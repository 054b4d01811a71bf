"""Every test that the table of advisories names is there, and every row names one or says why not."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security" / "advisories.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)))
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and "advisory |" not in line
]


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_is_there(path: str, name: str) -> None:
    source = ROOT / path
    assert source.is_file()
    assert not name or re.search(rf"^(async )?def {name}\(", source.read_text(), re.MULTILINE)


def test_every_row_names_a_test_or_says_why_it_does_not_apply() -> None:
    assert len(ROWS) > 45 and all(len(row) == 6 for row in ROWS)
    bare = [row[0] for row in ROWS if "::test_" not in row[5] and not row[4].startswith("not applicable: no such feature (")]
    assert bare == []


def test_no_advisory_stands_twice_for_one_weakness() -> None:
    seen = [(row[0], row[1]) for row in ROWS if row[0].startswith("OSSA")]
    assert len(seen) == len(set(seen))
    assert all(re.fullmatch(r"OSSA-20\d\d-\d{3}", one) for one, _ in seen)
