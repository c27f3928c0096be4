"""The tree of exceptions is what its docstring draws, and it is the whole tree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from vireid import errors
from vireid.errors import VireidError

SOURCE = Path(errors.__file__).parent


def drawn() -> dict[str, str]:
    """The parent of each class in the docstring's tree."""
    line = re.compile(r" {4}((?:[│ ] {3})*)(?:[├└]── )?(\w+Error)\b")
    path: list[str] = []
    parents = {}
    for depth, name in re.findall(line, errors.__doc__ or ""):
        place = len(depth) // 4 + (name != "VireidError")
        path[place:] = [name]
        parents[name] = path[place - 1] if place else "Exception"
    return parents


def test_the_tree_is_as_drawn() -> None:
    made = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, VireidError)
    }
    assert drawn() == made


def test_there_are_no_others() -> None:
    roots = set(drawn())
    for file in SOURCE.rglob("*.py"):
        if file.name == "errors.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                assert not bases & roots, f"{file.name}: {node.name}"
