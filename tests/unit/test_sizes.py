"""The shape of the code that STYLE promises: small files, small functions, few parameters, nothing in a junk drawer."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "pileus"
FILES = sorted(SOURCE.rglob("*.py"))
FILE_LINES, FUNCTION_LINES, PARAMETERS, PUBLIC_METHODS = 600, 50, 6, 15
JUNK = {"utils.py", "common.py", "manager.py", "helpers.py", "misc.py"}


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A click command has a parameter for each option."""
    return any("command" in ast.dump(decorator) for decorator in function.decorator_list)


def problems(path: Path) -> list[str]:
    text = path.read_text()
    tree = ast.parse(text)
    found: list[str] = []
    name = path.relative_to(SOURCE)
    lines = text.count("\n")
    if lines > FILE_LINES:
        found.append(f"{name}: {lines} lines, at most {FILE_LINES}")
    if ast.get_docstring(tree) is None:
        found.append(f"{name}: does not say in its first line what it is for")
    if path.name in JUNK:
        found.append(f"{name}: a junk drawer")
    for function in functions(tree):
        length = (function.end_lineno or 0) - function.lineno + 1
        if length > FUNCTION_LINES:
            found.append(f"{name}:{function.lineno} {function.name}: {length} lines, at most {FUNCTION_LINES}")
        arguments = function.args
        names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len([one for one in names if one not in ("self", "cls")])
        if count > PARAMETERS and not is_command(function):
            found.append(f"{name}:{function.lineno} {function.name}: {count} parameters, at most {PARAMETERS}")
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            public = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and not one.name.startswith("_")]
            if len(public) > PUBLIC_METHODS:
                found.append(f"{name}:{node.lineno} {node.name}: {len(public)} public methods, at most {PUBLIC_METHODS}")
    return found


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_a_file_keeps_the_size_rules(path: Path) -> None:
    assert problems(path) == []


def test_a_package_says_what_lives_in_it() -> None:
    packages = [path for path in FILES if path.name == "__init__.py"]
    silent = [str(path.relative_to(SOURCE)) for path in packages if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
