"""Weights from files and from torchvision, loaded whole or refused with every reason at once."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vireid.errors import WeightsError

__all__ = ["download_imagenet", "fingerprint", "load_exactly", "read_weights"]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors; nothing in it is ever executed.

    Args:
        path: A safetensors file, or a state dict saved by ``torch.save``. A state dict may lie
            under the key ``state_dict`` or ``model``; a leading ``module.`` is dropped.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: If the file is missing, damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(
            f"There is no weights file '{path}'; expected a .safetensors file or a state dict "
            "(.pth) with torchvision's keys (--weights)."
        )
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise WeightsError(
            f"'{path}' is no whole safetensors file ({error}); copy or download it again."
        ) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            f"'{path}' cannot be read as a plain state dict; a damaged file, or a pickled module, "
            "which is never executed. Save `model.state_dict()` with safetensors and use that."
        ) from error
    if isinstance(state, dict):
        for key in ("state_dict", "model"):
            if isinstance(state.get(key), dict):
                state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(
            f"'{path}' holds a {type(state).__name__} and not only named tensors; "
            "expected the state dict of a torchvision network."
        )
    return {key.removeprefix("module."): value for key, value in state.items()}


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
            "address) and pass --weights FILE, or --weights none to start from scratch."
        ) from error


def load_exactly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str,
    ignore: Sequence[str] = (),
) -> None:
    """Load tensors into a module, all or none.

    Args:
        module: Where they go.
        state: Tensors by the module's names.
        source: What to call them in an error.
        ignore: Prefixes of names that may be missing, extra or of any shape and are not loaded.

    Raises:
        WeightsError: One error that lists every missing, extra and wrongly shaped tensor.
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
            + ". Check that the file belongs to this backbone (--backbone)."
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
    shown = ", ".join(names)
    return f"{len(names)} {word} ({shown})"
