"""The page of invariants in the documentation says what the code says."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[4] / "docs"


def test_the_page_of_invariants_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("docs_conf", DOCS / "conf.py")
    assert spec is not None and spec.loader is not None
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    page = DOCS / "reference" / "invariants.md"
    assert page.read_text() == conf.invariants(), f"write it anew: {page} from docs/conf.py invariants()"
