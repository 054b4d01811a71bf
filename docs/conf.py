"""Sphinx's settings: MyST pages, and a reference that is generated from the code at every build."""

import importlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

project = "pileus"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "news"]
html_theme = "alabaster"
autodoc_default_options = {"members": True, "undoc-members": True, "member-order": "bysource"}
suppress_warnings = ["myst.header"]
SERVICES = ("identity", "image", "compute", "network", "placement")


def routes(name: str) -> str:
    """A service's routes with who may call them, and what each microversion brought."""
    service: Any = importlib.import_module(f"pileus.api.{name}.routes").SERVICE
    lines = [f"# Routes of {name} ({service.name})", "", f"Below `/{service.prefix}`. *Who* is the predicate of `api/policy.py`.", ""]
    lines += ["| method | path | action in the body | policy | who | versions |", "|---|---|---|---|---|---|"]
    for one in service.routes:
        since = "" if one.since is None else ".".join(map(str, one.since))
        until = "" if one.until is None else ".".join(map(str, one.until))
        versions = f"{since} - {until}" if since or until else ""
        who = service.policy.get(one.policy, one.policy)
        lines.append(f"| {one.method} | `{one.path}` | {one.action or ''} | {one.policy} | {who} | {versions} |")
    if service.history:
        lines += ["", "## Microversions", "", "| version | what it brought |", "|---|---|"]
        lines += [f"| {change.version[0]}.{change.version[1]} | {change.text} |" for change in service.history.changes]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """The help of every command."""
    import click

    from pileus.cli.main import COMMANDS, cli

    lines = ["# Commands", ""]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        lines += [f"## pileus {name}", "", "```", command.get_help(click.Context(command, info_name=f"pileus {name}")), "```", ""]
    return "\n".join(lines)


def changelog(docs: Path) -> str:
    """What is new, from the news fragments."""
    lines = ["# News since the last release", ""]
    return "\n".join(lines + [f"* {one.read_text().strip()}" for one in sorted((docs / "news").glob("*.md"))]) + "\n"


def invariants() -> str:
    """What `verify` compares."""
    from pileus.core.verify import INVARIANTS

    rows = [f"| {one.name} | {one.sentence} |" for one in INVARIANTS]
    return "\n".join(["# Invariants of verify", "", "| name | what must be true |", "|---|---|", *rows]) + "\n"


def generate(app: Any) -> None:
    """Write the generated pages, where they differ."""
    docs = Path(__file__).parent
    pages = {f"routes-{name}": routes(name) for name in SERVICES}
    pages |= {"commands": commands(), "news": changelog(docs), "invariants": invariants()}
    folder = docs / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def setup(app: Any) -> None:
    """Generate before reading."""
    app.connect("builder-inited", generate)
