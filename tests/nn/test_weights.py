"""Weights from files: whole, or one error with every reason."""

import os
import pickle
from pathlib import Path

import pytest
import torch
import torchvision.models as tv
from safetensors.torch import save_file

from vireid.errors import WeightsError
from vireid.nn import build_stages
from vireid.nn.weights import download_imagenet, fingerprint, read_weights


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return dict(tv.resnet18().state_dict())


@pytest.mark.parametrize("kind", ["safetensors", "pth", "nested", "parallel", "old"])
def test_torchvision_keys_are_loaded(
    kind: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    match kind:
        case "safetensors":
            save_file(state, path)
        case "pth":
            torch.save(state, path)
        case "nested":
            torch.save({"state_dict": state, "epoch": 3}, path)
        case "parallel":
            torch.save({f"module.{k}": v for k, v in state.items()}, path)
        case "old":  # before torch 0.4.1 batch norm had no counter; and no classifier here
            keep = {k: v for k, v in state.items() if "num_batches" not in k and "fc" not in k}
            torch.save(keep, path)
    stages, _ = build_stages("resnet18", path)
    loaded = stages["layer4"].state_dict()
    assert torch.equal(loaded["1.conv2.weight"], state["layer4.1.conv2.weight"])


def test_one_error_lists_everything_that_does_not_fit(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    wrong = dict(state)
    del wrong["conv1.weight"], wrong["layer2.0.bn1.bias"]
    wrong["head.weight"] = torch.zeros(3)
    wrong["bn1.weight"] = torch.zeros(65)
    path = tmp_path / "w.safetensors"
    save_file(wrong, path)
    with pytest.raises(WeightsError) as caught:
        build_stages("resnet18", path)
    text = str(caught.value)
    for part in (
        str(path),
        "2 missing (conv1.weight, layer2.0.bn1.bias)",
        "1 extra (head.weight)",
        "bn1.weight is [65], expected [64]",
        "--backbone",
    ):
        assert part in text


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_pickled_object_is_refused_and_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for name, save in (
        ("zip.pth", lambda p: torch.save({"w": _Bomb(mark)}, p)),
        ("plain.pth", lambda p: p.write_bytes(pickle.dumps({"w": _Bomb(mark)}, protocol=2))),
    ):
        save(tmp_path / name)
        with pytest.raises(WeightsError, match=name):
            read_weights(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_files_are_named(
    name: str, damage: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-1000], "empty": b"", "text": b"<html>"}[damage])
    with pytest.raises(WeightsError, match=name):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth"):
        read_weights(tmp_path / "none.pth")


def test_without_network_the_error_says_what_to_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"resnet18-\w+\.pth .*--weights FILE"):
        download_imagenet("resnet18")


def test_imagenet_weights_are_the_papers_and_never_unpickled(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    asked: dict[str, object] = {}

    def fetch(url: str, **options: object) -> dict[str, torch.Tensor]:
        asked.update(options, url=url)
        return state

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    assert download_imagenet("resnet18").keys() == state.keys()
    assert asked["weights_only"] is True
    assert asked["check_hash"] is True


def test_fingerprint_sees_one_bit(state: dict[str, torch.Tensor]) -> None:
    other = {k: v.clone() for k, v in state.items()}
    assert fingerprint(state) == fingerprint(dict(reversed(list(other.items()))))
    other["layer1.0.bn1.weight"].view(torch.int32)[0] ^= 1
    assert fingerprint(state) != fingerprint(other)
