"""How legible the package is, counted: what `tests/test_house.py` keeps from growing."""

import ast
from pathlib import Path

LONG = 25  # lines of a function, without its docstring


def tuple_assignments(source: str) -> list[int]:
    """Lines on which several unlike things are assigned at once, as in `a, b = f(x), g(y)`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        if any(isinstance(target, ast.Tuple) for target in node.targets):
            found.append(node.lineno)
    return found


def long_functions(source: str) -> list[str]:
    """Functions of more than `LONG` lines, signature and docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and body[-1].end_lineno - body[0].lineno + 1 > LONG:
                found.append(node.name)
    return found


def modules(package: Path) -> list[Path]:
    """Modules of the package, the phantoms' drawing code apart."""
    return [path for path in sorted(package.rglob("*.py")) if "phantoms" not in path.parts]


def lines(package: Path) -> int:
    """Lines of the package, docstrings included, phantoms apart."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in modules(package))
