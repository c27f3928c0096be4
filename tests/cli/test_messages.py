"""Every flag that a message names is a flag of each command that can print the message.

The symbols (functions, classes, constants) that a command reaches are followed through the source:
a symbol reaches all that its text names. That is more than a run can reach, hence ``EXCEPTIONS``.
"""

import ast
import contextlib
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

import vireid
from vireid.cli import COMMANDS, main
from vireid.methods import catalogue

Symbol: TypeAlias = tuple[str, str]
"""Module and name."""

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")

TRAIN = {f"train {name}": ("train", "_train") for name in catalogue() if not name.endswith("-cpu")}
GALLERY = ("add", "edit", "info", "export", "forget", "expire", "copy", "verify")
CASE = ("show", "new", "edit", "add", "remove", "note", "report", "delete")
ENTRIES: dict[str, tuple[str, str]] = {
    **TRAIN,
    "train --resume": ("train", "resume"),
    "ablate": ("ablate", "_ablate"),
    **{name: (name, name) for name in COMMANDS if name not in ("train", "ablate", "gallery")},
    **{f"gallery {name}": ("gallery", name) for name in GALLERY},
    "gallery search": ("gallery_search", "search"),
    "gallery case list": ("gallery_case", "listed"),
    **{f"gallery case {name}": ("gallery_case", name) for name in CASE},
    "gallery save-search": ("saved_search", "save_search"),
    "gallery calibrate": ("calibrate", "calibrate"),
}
"""The module of :mod:`vireid.cli` and the function of every command."""

HELP = {"train --resume": ("train", "--resume", "RUN"), "ablate": ("ablate", "dlis")}
"""The words that ask for a command's help, where they are not its name."""

NO_MESSAGES = {
    ("vireid.reports._page", "STYLE"),
    ("vireid.reports.leaderboard_page", "_STYLE"),
    ("vireid.cli.demo", "_next_steps"),
}
"""CSS, and parts of command lines."""
CONFIGURED = {
    *("train --resume", "demo", "difficulty", "methods", "evaluate", "compare", "leaderboard"),
    *("adapt", "encode", "export", "serve", "watch"),
    *("gallery add", "gallery search", "gallery save-search", "gallery calibrate"),
}
"""Commands that read options from config.yaml, whose errors name the file and the value, or that
have a fixed recipe."""


NETWORKS = ("vireid.methods.", "vireid.nn.")
"""Where messages are about options of a network: flags of `train`, or values in config.yaml."""


class Excepted(NamedTuple):
    """A message that names a flag which some commands that reach it lack, with good reason."""

    text: str
    commands: set[str]
    reason: str


CENTER = ("dlis", "dlis-strong", "dlis-transfer", "tslfn", "tslfn-strong")
_TRAIN = {*TRAIN, "train --resume", "ablate", "demo"}
EXCEPTIONS = (
    Excepted(
        "re-ranking {} queries",
        {*_TRAIN, "adapt", "difficulty", "serve", "gallery search"},
        "there is no re-ranking, or another message",
    ),
    Excepted(
        "expected --similarity cosine",
        {*TRAIN, "ablate"},
        "only `score` has another similarity",
    ),
    Excepted(
        "--exclude-own-camera",
        {*_TRAIN, "adapt", "difficulty", "compare", "leaderboard"},
        "the option is off",
    ),
    Excepted(
        "--junk and --distractor both",
        {"ablate", "demo", "difficulty"},
        "neither is given",
    ),
    Excepted("--expand {} or --memory-limit {}", {"ablate"}, "the defaults are in range"),
    Excepted("--alone", {"ablate"}, "the option is off"),
    Excepted("--k1, --k2, --rerank-weight", {"ablate"}, "the defaults are in range"),
    Excepted("--standardise-pairs", {*_TRAIN, "adapt", "difficulty"}, "the option is off"),
    Excepted("--standardise", {"ablate"}, "the option is off"),
    Excepted("--gallery-modality", {"ablate", "demo", "difficulty"}, "the default always applies"),
    Excepted(
        " or --camera",
        {"gallery expire", "serve"},
        "the end of advice on `vireid gallery add`",
    ),
    Excepted("--devices {} or --timeout {}", {"ablate"}, "the defaults are in range"),
    Excepted("--identities", {"train --resume", "demo"}, "the configuration is checked before"),
    Excepted("--images", {"train --resume", "demo"}, "the configuration is checked before"),
    Excepted("--seed", {"train --resume", "ablate"}, "the configuration is checked before"),
    Excepted("--size {} {}", CONFIGURED, "the configuration is checked before"),
    Excepted("evaluate the split (--trial)", CONFIGURED - {"evaluate"}, "they score no split"),
    Excepted("--pattern auto", CONFIGURED, "it quotes the run's option, and is no advice"),
    Excepted("--pattern '{}' {}", CONFIGURED, "it quotes the run's option, and is no advice"),
    Excepted(
        "--batch-size {} is out",
        {
            *(*_TRAIN, "adapt", "difficulty", "export", "serve", "watch"),
            *("gallery search", "gallery save-search"),
        },
        "the default is in range",
    ),
    Excepted("leave out --weights or --start", {"adapt"}, "it starts without weights"),
    Excepted("(--backbone-factor)", {"adapt"}, "the factor is 1"),
    Excepted(
        "a larger --center-gate",
        {*TRAIN, "train --resume", "demo"} - {f"train {n}" for n in CENTER},
        "only methods with a center term; others' flags follow `vireid train RECIPE`",
    ),
    Excepted("--log {}", {"demo"}, "the option is off"),
    Excepted("--device 'cuda' needs", {"difficulty", "export"}, "they use the CPU"),
    *(
        Excepted(text, {"ablate", "demo"}, "one process, unless a launcher starts several")
        for text in (
            "cannot be trained by {} processes",
            "if one was only slow, raise --timeout",
            "processes cannot share",
            "This run was trained in",
            "leave --devices out",
        )
    ),
)


class Message(NamedTuple):
    """A string of the source that names a flag."""

    where: Symbol
    text: str
    configured: bool
    """Whether it is about a value of a configuration class, which config.yaml names too."""


class Source:
    """The symbols of the package, what each names, and its messages."""

    def __init__(self) -> None:
        root = Path(vireid.__file__).parent
        self._trees: dict[str, ast.Module] = {}
        for file in sorted(root.rglob("*.py")):
            parts = file.relative_to(root.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self._trees[name] = ast.parse(file.read_text())
        self._names = {name: dict(_bindings(name, tree)) for name, tree in self._trees.items()}
        self.references: dict[Symbol, set[Symbol]] = defaultdict(set)
        self.messages: dict[Symbol, list[Message]] = defaultdict(list)
        for module, tree in self._trees.items():
            for statement in tree.body:
                for name in _defined(statement):
                    self._add((module, name), statement)

    def _add(self, symbol: Symbol, statement: ast.stmt) -> None:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and (found := self._resolve(symbol[0], node.id)):
                self.references[symbol].add(found)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = self._names[symbol[0]].get(node.value.id, ("", ""))
                if found := self._resolve(".".join(module), node.attr):
                    self.references[symbol].add(found)
        if symbol not in NO_MESSAGES:
            self.messages[symbol] = [
                Message(symbol, text, configured)
                for text, configured in _strings(statement)
                if FLAG.search(text)
            ]

    def _resolve(self, module: str, name: str) -> Symbol | None:
        found = self._names.get(module, {}).get(name)
        if found is None or found == (module, name):
            return found
        return self._resolve(*found)

    def reached(self, start: Symbol) -> set[Symbol]:
        """All that a symbol reaches."""
        seen, waiting = set(), [start]
        while waiting:
            symbol = waiting.pop()
            if symbol not in seen:
                seen.add(symbol)
                waiting += self.references[symbol]
        return seen


def _bindings(module: str, tree: ast.Module) -> Iterator[tuple[str, Symbol]]:
    """The names of a module: what it defines, and what it imports anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vireid"):
            for alias in node.names:
                yield alias.asname or alias.name, (node.module or "", alias.name)
    for statement in tree.body:
        for name in _defined(statement):
            yield name, (module, name)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.If):
        return [name for part in [*statement.body, *statement.orelse] for name in _defined(part)]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _strings(statement: ast.AST, configured: bool = False) -> Iterator[tuple[str, bool]]:
    """Strings that are no docstrings, with ``{}`` for values."""
    for node in ast.iter_child_nodes(statement):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield "".join(map(str, parts)), configured
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, configured
        else:
            own = isinstance(node, ast.FunctionDef) and node.name == "__post_init__"
            yield from _strings(node, configured or own)


def flags_of(command: str) -> set[str]:
    """The flags in a command's help, and the one that all commands have."""
    printed = io.StringIO()
    words = HELP.get(command, tuple(command.split()))
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main([*words, "--help"])
    return {*FLAG.findall(printed.getvalue()), "--plugin"}


def lacking(message: Message, command: str, flags: dict[str, set[str]]) -> set[str]:
    """Flags in a message that neither its command has nor the one that it names before them.

    In backquotes, `` `vireid train RECIPE --lr 0.1` ``, flags are those of the command there.
    """
    if message.configured and command in CONFIGURED:
        return set()
    known, found = flags[command], set()
    for index, part in enumerate(message.text.split("`")):
        own = set(FLAG.findall(part))
        if index % 2 == 0:
            found |= own - known
        elif part.startswith("vireid "):
            named = flags_of_named(part.split()[1:], flags)
            found |= own - named
            known = known | named
    if message.where[0].startswith(NETWORKS):
        found -= flags_of_named(["train"], flags)
    return found


def flags_of_named(words: list[str], flags: dict[str, set[str]]) -> set[str]:
    """The flags of the command that a message names."""
    if words[0] == "train":
        names = ["train --resume"] if "--resume" in words else list(TRAIN)
    else:
        names = [name for name in flags if words[: len(name.split())] == name.split()]
    assert names, f"'vireid {' '.join(words)}' is no command"
    return set().union(*(flags[name] for name in names))


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        return {command: flags_of(command) for command in ENTRIES}


def test_messages_name_flags_that_their_commands_have(flags: dict[str, set[str]]) -> None:
    source = Source()
    wrong: Any = defaultdict(lambda: defaultdict(set))
    read: set[Message] = set()
    excepted: set[str] = set()
    for command, (module, function) in ENTRIES.items():
        symbols = source.reached((f"vireid.cli.{module}", function))
        assert len(symbols) > 1, command
        for message in (m for symbol in symbols for m in source.messages[symbol]):
            read.add(message)
            if missing := lacking(message, command, flags):
                reasons = [
                    e for e in EXCEPTIONS if e.text in message.text and command in e.commands
                ]
                excepted |= {e.text for e in reasons}
                if not reasons:
                    wrong[message.where[0], message.text][" ".join(sorted(missing))].add(command)
    assert not wrong, "\n".join(f"{key}: {dict(lacks)}" for key, lacks in wrong.items())
    assert len(read) > 100
    assert excepted == {e.text for e in EXCEPTIONS}
