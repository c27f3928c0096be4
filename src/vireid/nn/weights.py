"""Weights from files and from torchvision; either all of them fit or one error says why not."""

from __future__ import annotations

import contextlib
import hashlib
import pickletools
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vireid.errors import WeightsError, first_few, many
from vireid.log import log

__all__ = ["download_imagenet", "fingerprint", "load_exactly", "read_weights"]

_STATE_DICTS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema",
)
"""Names that training scripts give a state dict in a checkpoint; the first one present is taken."""
_PICKLE_SECONDS = 5
"""CPU time in which the pickle of a checkpoint must be read; that of 10,000 tensors takes 0.1."""
_AGW_STEM, _AGW_LAYERS = "visible_module.visible.", "base_resnet.base."
"""In a network of the AGW family the trained stem and the trained layers are two prefixes apart."""


def read_weights(path: Path, *, names: Collection[str] = ()) -> dict[str, Tensor]:
    """Read a file of tensors; nothing in it is ever executed.

    Args:
        path: A safetensors file, or a state dict or checkpoint saved by ``torch.save``. Which part
            of a checkpoint is taken is logged.
        names: Names of the network's tensors. A prefix of them all, such as ``module.`` or
            ``backbone.``, is removed, and tensors without it are left out; this is logged too.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: If the file is missing or damaged, holds no state dict, or belongs to a run.
    """
    if (path / "config.yaml").is_file():
        raise _whole_run(path, path)
    if not path.is_file():
        raise WeightsError(
            f"There is no weights file '{path}'; expected a .safetensors file, or a state dict or "
            "checkpoint of torch.save."
        )
    with path.open("rb") as file:
        is_safetensors = path.suffix == ".safetensors" or file.read(9)[8:] == b"{"
    if is_safetensors:
        key, state = "", _read_safetensors(path)
    else:
        key, state = _find_state_dict(_read_checkpoint(path), path)
    notes = [f"the state dict '{key}'"] if key else []
    state, note = _remove_prefix(state, frozenset(names), path)
    if notes := notes + note:
        log(f"Weights from '{path}': {', '.join(notes)}.")
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(
            f"'{path}' is no intact safetensors file ({error}); copy or download it again."
        ) from error
    if "vireid" in meta or "digest" in meta:
        raise _whole_run(path, path.parent if "vireid" in meta else path.parent.parent)
    return state


def _whole_run(path: Path, run: Path) -> WeightsError:
    return WeightsError(
        f"'{path}' is the whole network of a vireid run and not a backbone; start from it with "
        f"`vireid train RECIPE --start {run}` instead of --weights."
    )


class _StandIn:
    """Replaces an object in a checkpoint, whose class is neither imported nor called."""

    def __new__(cls, *_: object) -> _StandIn:
        """Ignore the object's arguments."""
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Ignore the object's state."""


def _require_harmless(path: Path) -> None:
    """Refuse a checkpoint whose pickle does not end within limits, in a process of its own."""
    script = Path(__file__).with_name("_dry_unpickling.py")
    command = [sys.executable, "-I", "-S", str(script), str(path), str(_PICKLE_SECONDS)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise WeightsError(
            f"'{path}' cannot be read: its pickle takes far too much time or memory, or ends the"
            " process that reads it; expected a state dict or checkpoint of torch.save; copy or"
            " download it again, or save its state dict with safetensors where it was made."
        )


def _read_checkpoint(path: Path) -> Any:
    """What torch.save wrote, with a :class:`_StandIn` for everything but tensors and plain data."""
    _require_harmless(path)
    classes: set[str] = set()
    try:
        classes = _classes(path)
        allowed: list[Any] = [(type(name, (_StandIn,), {}), name) for name in classes]
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a parser of damaged bytes raises almost anything
        reason = str(error).partition("\n")[0]
        if not classes:
            raise WeightsError(
                f"'{path}' is damaged, or was not written by torch.save ({reason}); expected a "
                "safetensors file, or a state dict or checkpoint of torch.save."
            ) from error
        raise WeightsError(
            f"'{path}' cannot be read as tensors and plain data ({reason}); other objects are "
            "never unpickled. Where it was made, save its state dict alone with safetensors."
        ) from error


def _classes(path: Path) -> set[str]:
    """The classes and functions that the pickles of a file of torch.save name."""
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(path.open("rb"))
        pickles = 4  # a magic number, a version, the system, and the object
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(zipfile.ZipFile(stream))
            entries = archive.namelist()
            if any(entry.endswith("/constants.pkl") for entry in entries):
                raise ValueError("it is a TorchScript archive")
            stream = archive.open(next((e for e in entries if e.endswith("/data.pkl")), "data.pkl"))
            pickles = 1
        found = [
            argument.replace(" ", ".").replace("__builtin__", "builtins")
            for _ in range(pickles)
            for opcode, argument, _ in pickletools.genops(stream)
            if opcode.name == "GLOBAL" and argument is not None
        ]
    return set(found)


def _find_state_dict(content: Any, path: Path) -> tuple[str, dict[str, Tensor]]:
    """The state dict of a checkpoint, and its name; the name is empty if there is nothing else."""
    if _is_state_dict(content):
        return "", dict(content)
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"'{path}' holds an object of the class '{type(content).__name__}', which is never "
            "unpickled; expected a state dict. Where it was made, save `model.state_dict()` with "
            "safetensors."
        )
    found = {name: value for name, value in content.items() if _is_state_dict(value)}
    names = [name for name in _STATE_DICTS if name in found] or list(found)
    if not names or (len(found) > 1 and names[0] not in _STATE_DICTS):
        kinds = [f"{name} ({type(value).__name__})" for name, value in content.items()]
        raise WeightsError(
            f"'{path}' holds {first_few(kinds) or 'nothing'}, and {len(found) or 'none'} of them "
            "can be a state dict; expected one, or one by a usual name such as 'state_dict' or "
            "'model'. Where it was made, save the network's state dict alone with safetensors."
        )
    return str(names[0]), dict(found[names[0]])


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _remove_prefix(
    state: dict[str, Tensor], names: frozenset[str], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Remove the prefix under which most of ``names`` are, and say so."""
    hits = Counter(
        key[: -len(name)]
        for key in state
        for at in (0, *(i + 1 for i, letter in enumerate(key) if letter == "."))
        if (name := key[at:]) in names
    )
    most = max(hits.values(), default=0)
    prefixes = [prefix for prefix, count in hits.items() if count == most]
    if not hits or "" in prefixes:
        return state, []

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    if _AGW_STEM in hits and _AGW_LAYERS in hits:
        stem = {k: v for k, v in under(_AGW_STEM).items() if not k.startswith(("layer", "fc."))}
        return under(_AGW_LAYERS) | stem, [
            f"the stem under '{_AGW_STEM}' and the layers under '{_AGW_LAYERS}'",
        ]
    if len(prefixes) > 1:
        raise WeightsError(
            f"'{path}' holds {len(prefixes)} networks that fit, under {first_few(prefixes)}; "
            "expected one. Save the tensors of one of them with safetensors."
        )
    inside = under(prefixes[0])
    outside = [key for key in state if not key.startswith(prefixes[0])]
    rest = (
        [f"without {many(len(outside), 'tensor')} outside it ({first_few(outside)})"]
        if outside
        else []
    )
    return inside, [f"the prefix '{prefixes[0]}' removed", *rest]


def download_imagenet(name: str) -> dict[str, Tensor]:
    """Fetch torchvision's first ImageNet weights of a network (cached by torch.hub).

    Raises:
        WeightsError: If they cannot be fetched; the message says which file to bring by hand.
    """
    # Here and not above: torchvision takes seconds to import.
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True, weights_only=True))
    except OSError as error:
        raise WeightsError(
            f"The ImageNet weights of '{name}' could not be fetched ({error}). Where there is no "
            f"network, bring the file {weights.url.rsplit('/', 1)[-1]} (torchvision names its "
            "address) and pass it as `vireid train RECIPE --weights FILE`; --weights none starts "
            "from scratch."
        ) from error


def load_exactly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str,
    advice: str,
    ignore: Sequence[str] = (),
) -> None:
    """Load tensors into a module, all or none.

    Args:
        module: Where they go.
        state: Tensors by the module's names.
        source: What to call them in an error.
        advice: How to fix the error, as the end of its sentence.
        ignore: Prefixes of names that may be missing, extra or of any shape and are not loaded.

    Raises:
        WeightsError: One error that counts and names missing, extra and wrongly shaped tensors.
    """
    own = module.state_dict()

    def counts(key: str) -> bool:
        # Batch norm's step counter is not in files of older torch versions and changes nothing.
        return not key.startswith(tuple(ignore)) and not key.endswith("num_batches_tracked")

    expected = {k for k in own if counts(k)}
    given = {k for k in state if counts(k)}
    wrong = [
        f"{k} is {list(state[k].shape)}, expected {list(own[k].shape)}"
        for k in sorted(expected & given)
        if state[k].shape != own[k].shape
    ]
    problems = [
        _listing("missing", sorted(expected - given)),
        _listing("extra", sorted(given - expected)),
        _listing("of another shape", wrong),
    ]
    if any(problems):
        raise WeightsError(
            f"The weights of {source} do not fit the network: "
            + "; ".join(p for p in problems if p)
            + f"; {advice}."
        )
    kept = {k: v for k, v in state.items() if k in own and not k.startswith(tuple(ignore))}
    module.load_state_dict(kept, strict=False)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """A short name for exactly these weights: 16 hex digits of SHA-256 over names and bytes."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _listing(word: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {word} ({', '.join(names[:3])}{more})"
