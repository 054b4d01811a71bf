"""What a measurement says is what was measured: growth, promises that do not hold, the table and the plot."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from bench import plot, report
from bench.load import Figure, percentile
from bench.report import Row


def rows(exponent: float) -> list[Row]:
    return [
        Row(group="Lists", name=f"list in detail, {size:,} servers", unit="ms CPU", value=0.001 * size**exponent + 1e-9, p50=1.0, p99=2.0)
        for size in (0, 100, 1000, 10000)
    ]


def found(some: list[Row]) -> dict[str, Any]:
    return {"machine": {"CPU": "x"}, "stores": {"SQLite": some}, "slopes": {"SQLite": report.slopes(some)}}


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.3, 2.0])
def test_the_slope_is_the_exponent_of_growth(exponent: float) -> None:
    assert report.slopes(rows(exponent))["list in detail"] == pytest.approx(exponent, abs=0.01)


def test_what_grows_faster_than_in_proportion_is_said() -> None:
    assert report.broken(found(rows(1.0))) == []
    (line,) = report.broken(found([row for row in rows(1.3) if "1,000" not in row.name]))
    assert line.startswith("list in detail on SQLite grows with n^1.30")


def test_a_promise_that_does_not_hold_is_said_and_stands_in_the_page() -> None:
    given = found([Row(group="Network", name="create a port", unit="ms CPU", value=3.5)])
    assert report.broken(given) == ["create a port: 3.5 ms CPU, promised is less than 3"]
    page = report.markdown(given | {"slopes": {"SQLite": {}}})
    assert "| create a port | ms CPU | 3.50 |  | < 3 | 153 |" in page
    assert "* create a port: 3.5 ms CPU, promised is less than 3" in page


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    given = found(rows(1.0))
    given["stores"]["PostgreSQL"] = [Row.of("Lists", "list in detail, 100 servers", Figure(1, 1, 2.0, 1.0, 1.0, 1.0, 0.5), "ms CPU")]
    given["slopes"]["PostgreSQL"] = {}
    tables: list[list[str]] = [[]]
    for line in report.markdown(given).splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    for table in filter(None, tables):
        assert len({line.count("|") for line in table}) == 1, table


def test_the_plot_is_a_drawing_with_every_series(tmp_path: Path) -> None:
    text = plot.lines("Title & more", "n", "ms", {"one <a>": [(10, 0.5), (10000, 300)], "two": [(100, 1), (1000, 1)]})
    root = ElementTree.fromstring(text)
    names = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Title & more", "one <a>", "two", "10,000", "0.1"} <= set(names)
    drawn = [one.get("points", "").split() for one in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(one) for one in drawn] == [2, 2]
    flat = [float(one.split(",")[1]) for one in drawn[1]]
    assert flat[0] == flat[1], "what does not grow is level"


def test_percentiles_are_of_what_was_given() -> None:
    assert percentile([0.001 * number for number in range(1, 101)], 0.5) == pytest.approx(51)
    assert percentile([0.001 * number for number in range(1, 101)], 0.99) == pytest.approx(100)
    assert percentile([0.007], 0.99) == 7


def test_what_is_written_can_be_read_by_programs(tmp_path: Path) -> None:
    report.write(found(rows(1.0)), tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["control-plane.json", "control-plane.md", "control-plane.svg"]
