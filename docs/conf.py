"""Sphinx's settings: MyST pages, and a reference that is generated from the code at every build."""

import importlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

project = "pileus"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "news", "reference/generated/settings.md"]
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


INVARIANTS_HEAD = """# Invariants of verify

`pileus verify` looks at all of these; so does the control plane by itself, now and then (`pileus status` shows what it found last).
A breach counts when several looks in a row find it. *Mends* says that `pileus verify --repair` can put it right without losing anything
that a user owns: it says first what it will do, and asks. For the others the evidence says what to do.

This page is written by `docs/conf.py` from `core/verify`. Each invariant is proven by a test that breaks just that
(`tests/unit/core/verify`).
"""


def settings(source: Path) -> str:
    """Each setting with its type, its default and what its comment says."""
    import ast
    import re

    text = source.read_text()
    (config,) = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    lines = ["| setting | type | default | what |", "|---|---|---|---|"]
    for field in config.body:
        if not isinstance(field, ast.AnnAssign) or field.value is None:
            continue
        written = "\n".join(text.splitlines()[field.lineno - 1 : field.end_lineno])
        comment = re.search(r"[ \n]# (.*)", written)
        default = {"msgspec.field(default_factory=lambda: {'public': ''})": '{"public": ""}'}.get(
            ast.unparse(field.value), ast.unparse(field.value)
        )
        what = comment[1].replace("|", "\\|") if comment else ""
        kind = ast.unparse(field.annotation).replace("|", "\\|")
        lines.append(f"| `{ast.unparse(field.target)}` | `{kind}` | `{default}` | {what} |")
    return "\n".join(lines) + "\n"


def invariants() -> str:
    """What `verify` compares."""
    from pileus.core import verify

    lines = [INVARIANTS_HEAD, f"There are {len(verify.INVARIANTS)}."]
    for subject in verify.SUBJECTS:
        assert subject.__doc__ is not None
        lines += ["", f"## {subject.__doc__.splitlines()[0]}", "", "| name | what must be true | mends |", "|---|---|---|"]
        lines += [f"| `{one.name}` | {one.sentence} | {'yes' if one.repairable else ''} |" for one in subject.INVARIANTS]
    return "\n".join(lines) + "\n"


def generate(app: Any) -> None:
    """Write the generated pages, where they differ."""
    docs = Path(__file__).parent
    pages = {f"routes-{name}": routes(name) for name in SERVICES}
    pages |= {"commands": commands(), "news": changelog(docs), "../invariants": invariants()}
    pages |= {"settings": settings(docs.parent / "src" / "pileus" / "config.py")}
    folder = docs / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def setup(app: Any) -> None:
    """Generate before reading."""
    app.connect("builder-inited", generate)
