"""Plugins: methods, layouts, backends, re-rankers and detectors of other packages, or of one file.

A package declares them as entry points, in its pyproject.toml:

    [project.entry-points."vireid.methods"]
    my-method = "my_package.method:ENTRY"

A file, named by ``--plugin FILE.py``, by :func:`use` or in the environment variable VIREID_PLUGINS,
declares the same in dictionaries: ``METHODS = {"my-method": ENTRY}``. docs/plugins.md says what
each group holds. No code runs because a run folder names it: a run records the plugins that it
needs, and is refused unless they are installed, or named again, and unchanged.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict

from vireid.errors import PluginError
from vireid.log import log_once

__all__ = [
    "Group",
    "Origin",
    "Plugin",
    "declared",
    "loaded",
    "origin",
    "plugins",
    "require",
    "use",
    "using",
]

Group = Literal["methods", "layouts", "backends", "rerankers", "detectors"]
"""What a plugin adds; its entry points are in the group ``vireid.GROUP``."""

_VARIABLE = "VIREID_PLUGINS"
_DIGITS = 16
_NAME = re.compile("[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a part comes from, as a run folder records it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    group: Group
    """What it is."""
    name: str
    """Its name, as the command line takes it."""
    package: str
    """The package that declares it; empty for a file."""
    version: str
    """The package's version; empty for a file."""
    source: str
    """The module, or the path of the file."""
    sha256: str
    """The first digits of a hash of the source and of what it imports from its own package."""

    def __str__(self) -> str:
        where = f"package {self.package} {self.version}" if self.package else f"file {self.source}"
        return f"'{self.name}' of the {where} ({self.sha256})"


@dataclass(frozen=True)
class Plugin:
    """A part that a package or a file declares.

    Attributes:
        group: What it is.
        name: Its name.
        package: The package; empty for a file.
        version: The package's version; empty for a file.
        source: ``module:object`` of an entry point, or the path of a file.
    """

    group: Group
    name: str
    package: str
    version: str
    source: str

    @property
    def declared_by(self) -> str:
        """The package or the file that declares it, in words."""
        return f"the package {self.package} {self.version}" if self.package else f"'{self.source}'"

    def load(self) -> Any:
        """The declared object.

        Raises:
            PluginError: Its module cannot be imported, or has no such object.
        """
        module = self._module()
        if not self.package:
            return getattr(module, self.group.upper())[self.name]
        value: Any = module
        try:
            for attribute in self.source.partition(":")[2].split("."):
                value = getattr(value, attribute)
        except AttributeError as error:
            raise PluginError(
                f"'{self.name}' in vireid.{self.group} of {self.declared_by} is '{self.source}', "
                "which does not exist; fix the entry point in its pyproject.toml and install it "
                "again."
            ) from error
        return value

    def origin(self) -> Origin:
        """The record of the part.

        Raises:
            PluginError: Its module cannot be imported.
        """
        return Origin(
            group=self.group,
            name=self.name,
            package=self.package,
            version=self.version,
            source=self.source.partition(":")[0] if self.package else self.source,
            sha256=_digest(self._module()),
        )

    def _module(self) -> ModuleType:
        if not self.package:
            return _module_of(Path(self.source))
        name = self.source.partition(":")[0]
        try:
            module = import_module(name)
        except Exception as error:  # a package's import raises anything
            raise PluginError(
                f"'{self.name}' in vireid.{self.group} of {self.declared_by} cannot be loaded: "
                f"importing {name} raises {type(error).__name__}: {error}; fix or uninstall the "
                "package."
            ) from error
        _digest(module)  # of the code as it is imported, in case the files change later
        return module


def use(file: Path | str) -> None:
    """Make the parts of a file available in this process and in those that it starts.

    Args:
        file: A Python file. It is imported under its name, and its folder is appended to sys.path.

    Raises:
        PluginError: It does not exist, cannot be imported, or declares nothing.
    """
    path = Path(file).absolute()
    _declared(path)
    os.environ[_VARIABLE] = os.pathsep.join(map(str, dict.fromkeys([*_files(), path])))


@contextlib.contextmanager
def using(files: Iterable[Path | str]) -> Iterator[None]:
    """Make the parts of files available within a block, as :func:`use` does.

    Args:
        files: Python files.
    """
    before = os.environ.get(_VARIABLE)
    try:
        for file in files:
            use(file)
        yield
    finally:
        os.environ.pop(_VARIABLE, None)
        if before is not None:
            os.environ[_VARIABLE] = before


def plugins(group: Group) -> dict[str, Plugin]:
    """The declared parts of a group by name; installed packages are not imported.

    Args:
        group: What they are.

    Raises:
        PluginError: A file cannot be imported, a name has other characters than lower-case letters,
            digits and hyphens, or is declared twice.
    """
    found: dict[str, Plugin] = {}
    own = [
        Plugin(group, name, "", "", str(file))
        for file in _files()
        for name in _declared(file)[group]
    ]
    for plugin in [*_entry_points(group, tuple(sys.path)), *own]:
        if not _NAME.fullmatch(plugin.name):
            raise PluginError(
                f"'{plugin.name}' in vireid.{group} of {plugin.declared_by} is no name of a plugin;"
                " expected lower-case letters, digits and hyphens; rename it."
            )
        other = found.setdefault(plugin.name, plugin)
        if other != plugin:
            raise PluginError(
                f"'{plugin.name}' in vireid.{group} is declared twice, by {other.declared_by} and "
                f"{plugin.declared_by}; expected one of each name: rename one, or uninstall its "
                "package."
            )
    return found


def loaded(group: Group, check: Callable[[str, Any], str]) -> dict[str, Any]:
    """The objects of a group by name; packages that do not fit are logged and left out.

    Args:
        group: What they are.
        check: Returns what is wrong with a name and its object, and what was expected; or "".

    Raises:
        PluginError: What a file declares does not fit.
    """
    found = {}
    for name, plugin in plugins(group).items():
        try:
            value = plugin.load()
            if fault := check(name, value):
                raise PluginError(f"'{name}' in vireid.{group} of {plugin.declared_by} {fault}.")
        except PluginError as error:
            if not plugin.package:
                raise
            log_once(f"Left out: {error}")
        else:
            found[name] = value
    return found


def declared(group: Group, name: str) -> Callable[..., Any] | None:
    """The declared class or function of a name; None if there is none.

    Args:
        group: What it is.
        name: Its name.

    Raises:
        PluginError: It cannot be loaded, or cannot be called.
    """
    plugin = plugins(group).get(name)
    value = plugin.load() if plugin else None
    if plugin and not callable(value):
        raise PluginError(
            f"'{name}' in vireid.{group} of {plugin.declared_by} is a '{type(value).__name__}'; "
            "expected a class or a function (docs/plugins.md)."
        )
    return value if plugin else None


def origin(group: Group, name: str) -> Origin | None:
    """The record of a part; None if no plugin declares it.

    Args:
        group: What it is.
        name: Its name.
    """
    plugin = plugins(group).get(name)
    return plugin.origin() if plugin else None


def require(recorded: Origin, *, what: str) -> None:
    """Refuse to go on without a plugin, or with a changed one.

    Args:
        recorded: The record.
        what: The file that holds it, for messages.

    Raises:
        PluginError: It is missing, cannot be loaded, or is not the recorded one.
    """
    plugin = plugins(recorded.group).get(recorded.name)
    if plugin is None or plugin.package != recorded.package:
        fix = (
            f"install version {recorded.version} of that package"
            if recorded.package
            else f"name it with --plugin {recorded.source}, or vireid.plugins.use() in Python"
        )
        raise PluginError(f"{what} needs the plugin {recorded}, which is not there; {fix}.")
    found = plugin.origin()
    if found.sha256 != recorded.sha256:
        restore = (
            f"install version {recorded.version} again" if recorded.package else "restore the file"
        )
        raise PluginError(
            f"{what} needs the plugin {recorded}, but its code has changed: it is now {found}; "
            f"{restore}, or train again; if the change cannot alter results, write "
            f"'{found.sha256}' in place of '{recorded.sha256}'."
        )


def _files() -> list[Path]:
    return [Path(text) for text in os.environ.get(_VARIABLE, "").split(os.pathsep) if text]


@cache
def _entry_points(group: Group, path: tuple[str, ...]) -> list[Plugin]:
    """Declared entry points, each once, though a package may be found twice on ``sys.path``."""
    del path
    points = metadata.entry_points(group=f"vireid.{group}")
    found = [Plugin(group, p.name, p.dist.name, p.dist.version, p.value) for p in points if p.dist]
    return list(dict.fromkeys(found))


def _declared(file: Path) -> dict[Group, list[str]]:
    """The names that a file declares, by group."""
    module = _module_of(file)
    found: dict[Group, list[str]] = {}
    for group in get_args(Group):
        names = getattr(module, group.upper(), {})
        if not isinstance(names, dict):
            raise PluginError(
                f"{group.upper()} of the plugin '{file}' is a '{type(names).__name__}'; expected a "
                "dictionary of objects by name."
            )
        found[group] = list(names)
    if not any(found.values()):
        raise PluginError(
            f"The plugin '{file}' declares nothing; expected one of the dictionaries "
            f"{', '.join(group.upper() for group in get_args(Group))}, such as "
            'METHODS = {"my-method": Entry(…)}.'
        )
    return found


def _module_of(file: Path) -> ModuleType:
    """Import a file under its name, so that other processes can unpickle its classes."""
    if file.suffix != ".py" or not file.is_file():
        raise PluginError(f"The plugin '{file}' is no Python file; expected an existing FILE.py.")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        module = import_module(file.stem)
    except Exception as error:  # a file's code raises anything
        raise PluginError(
            f"The plugin '{file}' cannot be imported: it raises {type(error).__name__}: {error}; "
            "fix the file."
        ) from error
    if Path(module.__file__ or "").resolve() != file.resolve():
        raise PluginError(
            f"The plugin '{file}' has the name of another module, '{module.__file__}'; rename it."
        )
    _digest(module)
    return module


@cache
def _digest(module: ModuleType) -> str:
    """A hash of a module and of all that it imports from its own package, or its own folder."""
    folder = Path(module.__file__ or "").parent
    top = module.__name__.partition(".")[0]
    alone = not hasattr(sys.modules[top], "__path__")
    found: dict[str, bytes] = {}
    names = [module.__name__]
    while names:
        name = names.pop()
        imported = sys.modules.get(name)
        file = Path(getattr(imported, "__file__", None) or "")
        own = file.parent == folder if alone else name.partition(".")[0] == top
        if name in found or not own or not file.is_file():
            continue
        found[name] = file.read_bytes()
        if file.suffix == ".py":
            names += _imports(found[name], getattr(imported, "__package__", "") or "")
    digest = hashlib.sha256()
    for name, content in sorted(found.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:_DIGITS]


def _imports(source: bytes, package: str) -> Iterator[str]:
    """Names of the modules that a source imports, and others."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = resolve_name(relative, package) if node.level else relative
            yield base
            yield from (f"{base}.{name.name}" for name in node.names)
