"""The run folder: the configuration of a training and its results.

RUN/
  config.yaml           the resolved options, and the plugins that they need; `vireid train --resume
                        RUN` starts from it
  data.json             what the network is trained on, to recognise it in evaluation
  images.csv            the images that `vireid adapt` was given; its data set
  clusters.csv          the clusters and matches that an adapted network finds in them
  metrics.jsonl         one line an epoch
  checkpoints/          of the last epochs, with the optimizer's state
  best.safetensors      with --select validation, the network of the best epoch so far
  model.safetensors     the trained network, once training is finished
  results/              the results of `vireid evaluate`
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vireid.data.provenance import Provenance
from vireid.errors import ConfigError, RunError, fix_of
from vireid.files import clear_temporaries, held, require_writable, write_atomic
from vireid.methods.catalogue import origin_of
from vireid.nn.weights import fingerprint
from vireid.plugins import Origin, origin, require
from vireid.runs.config import Run

__all__ = ["RunFolder", "require_readable"]

MAX_CONFIG = 65_536
"""Maximum number of bytes of a config.yaml; vireid writes about 2,000."""

MAX_DEPTH = 20
"""Maximum number of levels of a config.yaml; vireid writes 4."""


@dataclass(frozen=True)
class _ModelMeta:
    """What a file of weights says of them."""

    fingerprint: str
    classes: Annotated[int, Field(ge=1)]


class RunFolder:
    """Reads and writes one run folder; every file is written atomically.

    Args:
        path: The folder; it need not exist yet.
        installed: The name, if it is the folder of an installed model. Nothing is written there:
            its results are in ``NAME-results`` in the current folder.

    Attributes:
        name: What messages call it.
    """

    def __init__(self, path: Path, *, installed: str = "") -> None:
        self.path = path
        self.installed = installed
        self.name = installed or str(path)
        self.config_file = path / "config.yaml"
        self.data_file = path / "data.json"
        self.images_file = path / "images.csv"
        self.clusters_file = path / "clusters.csv"
        self.metrics_file = path / "metrics.jsonl"
        self.best_file = path / "best.safetensors"
        self.model_file = path / "model.safetensors"
        self.checkpoints = path / "checkpoints"
        self.results = Path(f"{installed}-results") if installed else path / "results"

    @property
    def _restore(self) -> str:
        """How to restore a damaged model."""
        if self.installed:
            return "install vireid-models again"
        return (
            f"delete it and run `vireid train --resume {self.path}`, which writes it again from the"
            " last checkpoint"
        )

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Create the folder and keep other processes from training into it.

        Raises:
            RunError: If another process is training into it.
        """
        with contextlib.ExitStack() as holding:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                holding.enter_context(held(self.path))
            except BlockingIOError as error:
                raise RunError(
                    f"Another process is training into '{self.path}'; wait until it ends, or "
                    "train into another folder."
                ) from error
            except OSError:
                pass  # start() reports an unwritable folder; some network drives have no locks
            yield

    def require_new(self) -> None:
        """Refuse to overwrite a run; the list of the images to adapt to may be there already.

        Raises:
            RunError: If the folder holds anything else, is a file, or cannot be written to.
        """
        if self.path.exists() and (
            not self.path.is_dir() or {*self.path.iterdir()} - {self.images_file}
        ):
            raise RunError(
                f"'{self.path}' is not empty; continue its run with `vireid train --resume "
                f"{self.path}`, or train into another folder."
            )

    def require_writable(self) -> None:
        """Check that files can be written, before any work.

        Raises:
            RunError: If they cannot.
        """
        with self._naming_unwritable():
            require_writable(self.path, folder=True)

    def start(self, run: Run) -> None:
        """Write ``config.yaml`` and remove temporary files of a killed process.

        Raises:
            RunError: If the folder cannot be written to.
        """
        resume = f"continue with `vireid train --resume {self.path.name}`"
        verb = "adapt" if run.adaptation else "train"
        with self._naming_unwritable():
            self.write_config(run, comment=f"vireid {verb} {run.name}; {resume}")
        clear_temporaries(self.path)

    @contextlib.contextmanager
    def _naming_unwritable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            fix = fix_of(error, "fix its permissions, or train into another folder")
            raise RunError(
                f"The run folder '{self.path}' cannot be written to ({error.strerror}); {fix}."
            ) from error

    def write_config(self, run: Run, *, comment: str) -> None:
        """Write ``config.yaml`` with a comment as its first line."""
        write_atomic(self.config_file, f"# {comment}\n{_to_yaml(run)}".encode())

    def read_config(self) -> Run:
        """Read ``config.yaml``.

        Raises:
            RunError: If there is none, or it is not one that vireid wrote.
            PluginError: If it needs a plugin that is missing or was changed.
        """
        try:
            with self.config_file.open("rb") as file:
                text = file.read(MAX_CONFIG + 1).decode()
            return _from_yaml(text, what=f"'{self.config_file}'")
        except (FileNotFoundError, NotADirectoryError) as error:
            why = "is a file" if self.path.is_file() else "has no config.yaml"
            raise RunError(
                f"'{self.path}' is no run folder: it {why}; expected a folder written by `vireid "
                "train … --out RUN`; pass such a folder."
            ) from error
        except (yaml.YAMLError, ValidationError, ConfigError, UnicodeDecodeError) as error:
            raise RunError(
                f"'{self.config_file}' cannot be read: {error}. Fix the named value, or train "
                "again into a new folder."
            ) from error

    def write_data(self, data: Provenance) -> None:
        """Write ``data.json``."""
        write_atomic(self.data_file, TypeAdapter(Provenance).dump_json(data, indent=1))

    def read_data(self) -> Provenance:
        """Read ``data.json``.

        Raises:
            RunError: If it is missing or damaged.
        """
        try:
            return TypeAdapter(Provenance).validate_json(self.data_file.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"'{self.data_file}' cannot be read ({error}), so it is unknown what '{self.path}' "
                "was trained on; copy the whole run folder, or train again."
            ) from error

    def write_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Write ``metrics.jsonl``, one line an epoch."""
        lines = "".join(json.dumps(line) + "\n" for line in history)
        write_atomic(self.metrics_file, lines.encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The metrics of the finished epochs.

        Raises:
            RunError: If the file is damaged.
        """
        if not self.metrics_file.exists():
            return []
        try:
            lines = self.metrics_file.read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines]
        except (ValueError, RecursionError, OSError) as error:
            raise RunError(
                f"'{self.metrics_file}' cannot be read ({error}); expected one JSON object a line; "
                f"`vireid train --resume {self.path}` writes it again from the last checkpoint."
            ) from error

    def write_model(self, state: Mapping[str, Tensor], *, classes: int, best: bool = False) -> str:
        """Write ``model.safetensors`` or ``best.safetensors``; returns its fingerprint.

        Tensors of half precision are stored in it, and read in single precision. The fingerprint
        is that of the tensors that :meth:`read_model` returns.
        """
        # A network trained in double precision is used in single precision.
        single = {k: v.float() if v.dtype == torch.float64 else v for k, v in state.items()}
        tensors = {k: v.detach().cpu().contiguous() for k, v in single.items()}
        name = fingerprint(_in_single(tensors))
        # One entry, because safetensors orders several at random and equal runs are equal files.
        meta = {"vireid": json.dumps({"fingerprint": name, "classes": classes})}
        write_atomic(self.best_file if best else self.model_file, save(tensors, metadata=meta))
        return name

    def read_model(self, *, best: bool = False) -> tuple[dict[str, Tensor], int, str]:
        """The trained network's tensors, its number of classes, and its fingerprint.

        Args:
            best: Read the network of the best epoch so far instead.

        Raises:
            RunError: If training is not finished, or the file is damaged.
        """
        path = self.best_file if best else self.model_file
        if not path.exists():
            self.read_config()
            raise RunError(
                f"The run '{self.path}' is not finished: it has no {path.name}; continue it "
                f"with `vireid train --resume {self.path}`."
            )
        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get("vireid", "{}")
                meta = TypeAdapter(_ModelMeta).validate_json(text)
                stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValidationError) as error:
            raise RunError(f"'{path}' is damaged ({error}); {self._restore}.") from error
        state = _in_single(stored)
        if fingerprint(state) != meta.fingerprint:
            raise RunError(
                f"'{path}' is damaged: its tensors are not the ones that were saved; "
                f"{self._restore}."
            )
        return state, meta.classes, meta.fingerprint


def require_readable(run: Run) -> None:
    """Refuse a run whose ``config.yaml`` would not give the same run again.

    Raises:
        ConfigError: If it would not: such a run could be trained, but neither loaded nor resumed.
    """
    try:
        fault = _difference(run, _from_yaml(_to_yaml(run), what="the run"), "the run")
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (PydanticSerializationError, ConfigError) as error:
        fault = str(error)
    if fault:
        raise ConfigError(
            f"The run '{run.name}' could be trained but not loaded: its config.yaml would not be "
            f"read as the same run ({fault}); expected a method of `vireid methods` or of a plugin "
            "(vireid.plugins), and values of the declared types."
        )


def _in_single(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, those of half precision in single precision."""
    return {k: v.float() if v.dtype == torch.float16 else v for k, v in state.items()}


def _to_yaml(run: Run) -> str:
    plain = TypeAdapter(Run).dump_python(run, mode="json", warnings=False)
    found = (origin_of(run.name, run.recipe.method), origin("layouts", run.data.layout))
    plugins = [asdict(one) for one in found if one]
    return yaml.safe_dump(
        {"name": plain["name"], "recipe": plain["recipe"], **plain}
        | ({"plugins": plugins} if plugins else {}),
        sort_keys=False,
        allow_unicode=True,
    )


def _from_yaml(text: str, *, what: str) -> Run:
    if len(text) > MAX_CONFIG:
        raise ConfigError(f"it has more than {MAX_CONFIG:,} bytes; expected about 2,000")
    # CPython parses no integer of more than 4,300 digits, and raises a plain ValueError.
    try:
        plain = yaml.load(text, _Loader)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    _check_numbers(plain)
    if isinstance(plain, dict):
        for one in TypeAdapter(list[Origin]).validate_python(plain.pop("plugins", [])):
            require(one, what=what)
    return TypeAdapter(Run).validate_python(plain)


def _check_numbers(value: object) -> None:
    """Refuse numbers that no option has, and that overflow in PyTorch."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            _check_numbers(part)
    elif isinstance(value, int | float) and not abs(value) < 2**63:  # true of NaN too
        raise ConfigError(f"it has the number '{value}'; expected a finite one below 2^63")


class _Loader(yaml.SafeLoader):
    """A loader whose work is bounded by the size of the text."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few aliases of aliases stand for billions of values.
        if self.check_event(yaml.AliasEvent):
            raise ConfigError("it has an alias ('*'); expected every value written out")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConfigError(f"it has more than {MAX_DEPTH} levels; expected 4")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _difference(own: object, read: object, name: str) -> str:
    """The first value that is read as another one, in words; empty if there is none."""
    if type(own) is not type(read):
        return f"{name} is a '{type(own).__name__}', and is read as a '{type(read).__name__}'"
    if is_dataclass(own):
        pairs = ((f.name, getattr(own, f.name), getattr(read, f.name)) for f in fields(own))
        return next((d for n, a, b in pairs if (d := _difference(a, b, n))), "")
    return "" if own == read else f"{name} is '{own}', and is read as '{read}'"
