"""What Prometheus is given is what it reads: names, types, labels, and histograms that add up."""

from pileus.core.metrics import Family, Histogram, Sample, counter, gauge, histogram, render
from tests.exposition import parse


def test_a_counter_is_read_as_it_was_counted() -> None:
    text = render([counter("a_total", "How many.", [({"kind": "x"}, 3), ({"kind": "y"}, 0)])])
    assert text == '# HELP a_total How many.\n# TYPE a_total counter\na_total{kind="x"} 3\na_total{kind="y"} 0\n'


def test_what_stands_in_a_label_comes_out_as_it_was() -> None:
    hostile = 'a "quoted" \\ back\nslash {x="y"} 7'
    assert parse(render([gauge("g", "x\ny \\", [({"name": hostile}, 1)])]))["g"].values == {(("name", hostile),): 1.0}


def test_a_histogram_counts_what_is_at_most_its_bound() -> None:
    times = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        times.observe(value)
    found = parse(render([histogram("h", "Times.", [({"kind": "x"}, times)])]))["h"]
    assert {dict(labels)["le"]: value for labels, value in found.buckets.items()} == {"0.1": 2, "1": 3, "+Inf": 4}
    assert found.sums == {(("kind", "x"),): 7.65}
    assert found.counts == {(("kind", "x"),): 4}


def test_samples_of_one_name_stand_together_whoever_gave_them() -> None:
    text = render([gauge("a", "A.", [({"x": "1"}, 1)]), gauge("b", "B.", [({}, 2)]), gauge("a", "A.", [({"x": "2"}, 3)])])
    assert text.count("# TYPE a gauge") == 1
    assert parse(text)["a"].values == {(("x", "1"),): 1.0, (("x", "2"),): 3.0}


def test_numbers_that_are_none_have_the_words_of_the_format() -> None:
    text = render([Family(name="n", kind="gauge", help="N.", samples=[Sample(value=float(word)) for word in ("inf", "-inf", "nan")])])
    assert text.splitlines()[2:] == ["n +Inf", "n -Inf", "n NaN"]


def test_a_name_without_samples_is_not_mentioned() -> None:
    assert render([gauge("a", "A.", [])]).strip() == ""
