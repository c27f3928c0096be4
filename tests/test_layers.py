"""The packages of vireid form layers: a module imports its own layer and those to its left."""

import ast
from collections.abc import Iterator
from pathlib import Path

import vireid

ROOT = Path(vireid.__file__).parent

LAYERS = (
    ("errors", "times", "log"),
    ("types", "files", "optional_packages"),
    ("distributed", "models", "standardisation", "plugins"),
    ("nn", "losses", "data"),
    ("methods",),
    ("runs",),
    ("training", "features"),
    ("export", "evaluation"),
    ("gallery",),
    ("openset",),
    ("video", "adaptation"),
    ("reports",),
    ("app", "synvi", "testing", "watching"),
    ("cli",),
)
"""From left to right."""

BELOW_SYNVI = ("errors", "types", "files", "log", "times", "data")
"""What the renderer may import."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(file: Path, *, top_level: bool = False) -> Iterator[str]:
    """Modules of vireid that a file imports, those for type checkers left out."""
    tree = ast.parse(file.read_text())
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vireid"):
            for name in node.names:
                full = f"{node.module}.{name.name}"
                path = ROOT.parent / full.replace(".", "/")
                is_module = path.with_suffix(".py").exists() or path.is_dir()
                yield full if is_module else node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("vireid"))
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not (top_level and inner):
            nodes += ast.iter_child_nodes(node)


def modules() -> dict[str, Path]:
    found = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def test_no_module_imports_a_layer_to_its_right() -> None:
    wrong = []
    for name, file in modules().items():
        own = package(name)
        if own in ("", "__main__"):
            continue
        for other in map(package, imports(file)):
            if other in ("", own):
                continue
            if not (other in BELOW_SYNVI if own == "synvi" else LEVEL[other] < LEVEL[own]):
                wrong.append(f"{name} imports vireid.{other}")
    assert wrong == []


def test_evaluation_imports_no_method_and_no_network() -> None:
    known = modules()
    seen, todo = set(), [name for name in known if package(name) == "evaluation"]
    while todo:
        name = todo.pop()
        if name not in seen and name in known:
            seen.add(name)
            todo += imports(known[name])
    below = {"", "evaluation", "data", "plugins", "optional_packages"}
    below |= {"types", "errors", "times", "files", "log"}
    assert {package(name) for name in seen} <= below


def test_no_modules_import_each_other() -> None:
    known = modules()
    graph = {
        name: set(imports(file, top_level=True)) & known.keys() for name, file in known.items()
    }
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"{' -> '.join((*path, name))}"
        if name not in done:
            for other in sorted(graph[name] - {name}):
                walk(other, (*path, name))
            done.add(name)

    for name in sorted(known):
        walk(name, ())
