"""Weights from files: all that the network needs, or one error with every reason."""

import argparse
import datetime
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models as tv
from safetensors.torch import save_file

from vireid.errors import WeightsError
from vireid.nn import build_stages, weights
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


AGW = ("visible_module.visible.", "thermal_module.thermal.", "base_resnet.base.")
BESIDE: dict[str, Any] = {
    # What training scripts save beside a network, and other objects that may be there.
    "epoch": 3,
    "rank1": np.float64(0.9),
    "mAP": np.float32(0.5),
    "cmc": np.arange(3.0),
    "args": argparse.Namespace(lr=0.1),
    "time": datetime.datetime(2026, 1, 1),
    "out": Path("runs"),
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "net", "model", "ema", "mine"])
def test_the_state_dict_of_a_checkpoint_is_found(
    key: str,
    zipped: bool,
    state: dict[str, torch.Tensor],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "w.pth.tar"
    torch.save({**BESIDE, key: state}, path, _use_new_zipfile_serialization=zipped)
    found = read_weights(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert capsys.readouterr().err == f"Weights from '{path}': the state dict '{key}'.\n"


@pytest.mark.parametrize(
    "prefix", ["module.", "base.", "backbone.", "module.module.", "model.", "_orig_mod.", "a.b.c."]
)
def test_a_common_prefix_is_removed_and_heads_outside_it_are_left_out(
    prefix: str,
    state: dict[str, torch.Tensor],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "w.pth"
    heads = {"bottleneck.weight": torch.ones(512), "classifier.weight": torch.ones(9, 512)}
    torch.save({"net": {prefix + name: v for name, v in state.items()} | heads}, path)
    stages, _ = build_stages("resnet18", path)
    loaded = stages["layer4"].state_dict()
    assert torch.equal(loaded["1.conv2.weight"], state["layer4.1.conv2.weight"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"the state dict 'net', the prefix '{prefix}' removed" in said
    assert "without 2 tensors outside it ('bottleneck.weight', 'classifier.weight')" in said


def test_a_network_of_the_agw_family_gives_its_visible_stem_and_shared_layers(
    state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each part is a whole ResNet, of which training uses the stem or the layers.
    parts = [{k: v.float() + i for k, v in state.items()} for i in range(3)]
    path = tmp_path / "agw.t"
    net = {prefix + k: v for prefix, part in zip(AGW, parts, strict=True) for k, v in part.items()}
    torch.save({"net": net, "mAP": np.float64(0.5)}, path)
    found = read_weights(path, names=state)
    assert torch.equal(found["conv1.weight"], parts[0]["conv1.weight"])
    assert torch.equal(found["bn1.bias"], parts[0]["bn1.bias"])
    assert torch.equal(found["layer1.0.conv1.weight"], parts[2]["layer1.0.conv1.weight"])
    assert "the stem under 'visible_module.visible.'" in capsys.readouterr().err


def test_several_networks_in_one_file_are_refused(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    torch.save({p + k: v for p in ("student.", "teacher.") for k, v in state.items()}, path)
    with pytest.raises(WeightsError, match=r"2 networks that fit, under 'student\.', 'teacher\.'"):
        read_weights(path, names=state)
    torch.save({"one": state, "two": state}, path)
    with pytest.raises(WeightsError, match=r"'one \(dict\)'.* 2 of them can be a state dict"):
        read_weights(path)


def test_an_error_about_another_network_is_short(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    torch.save({f"encoder.block.{i}.query": torch.zeros(2) for i in range(90)}, path)
    with pytest.raises(WeightsError, match=r"100 missing \(.* and 97 more\); 90 extra") as caught:
        build_stages("resnet18", path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", ["module", "script", "arrays", "no tensors"])
def test_a_file_without_a_state_dict_is_not_called_damaged(
    kind: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.pt"
    network = torch.nn.Linear(2, 2)
    match kind:
        case "module":
            torch.save(network, path)
            words = "object of the class 'torch.nn.modules.linear.Linear'"
        case "script":
            with zipfile.ZipFile(path, "w") as archive:
                for entry in ("data.pkl", "constants.pkl", "code/__torch__.py"):
                    archive.writestr(f"w/{entry}", b"")
            words = "TorchScript archive"
        case "arrays":
            torch.save({k: v.numpy() for k, v in state.items()}, path)
            words = r"conv1.weight \(numpy\._?core\.multiarray\._reconstruct\)"
        case _:
            torch.save({"epoch": 1, "model": network}, path)
            words = "none of them can be a state dict"
    with pytest.raises(WeightsError, match=words) as caught:
        read_weights(path)
    assert kind == "script" or "damaged" not in str(caught.value)


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
        (
            "old.pth",
            lambda p: torch.save({"w": _Bomb(mark)}, p, _use_new_zipfile_serialization=False),
        ),
        ("plain.pth", lambda p: p.write_bytes(pickle.dumps({"w": _Bomb(mark)}, protocol=2))),
    ):
        save(tmp_path / name)
        with pytest.raises(WeightsError, match=name):
            read_weights(tmp_path / name)
    assert not mark.exists()


class _Call:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"import pathlib; pathlib.Path({str(self.mark)!r}).mkdir()",)


def test_an_object_beside_the_state_dict_is_not_executed(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    torch.save({"state_dict": state, "extra": _Call(mark)}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == state.keys()
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


@pytest.mark.parametrize("name", ["w.safetensors", "zip.pth", "legacy.pth"])
def test_a_flipped_bit_never_escapes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch reads all of them, not only those that pass the process of its own.
    monkeypatch.setattr(weights, "_require_harmless", lambda _: None)
    path = tmp_path / name
    state = {"conv.weight": torch.ones(2, 3), "bn.number": torch.tensor(3)}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        content = {"state_dict": state, "epoch": 3}
        torch.save(content, path, _use_new_zipfile_serialization=name == "zip.pth")
    whole, rng, errors = path.read_bytes(), random.Random(0), 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except WeightsError:
            errors += 1
    assert errors > 20


def doubled(levels: int) -> bytes:
    """A pickle of a tuple that holds the same tuple twice, and so on, as a key."""
    steps = (
        b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(levels)
    )
    return b"\x80\x02](X\x01\0\0\0a\x85q\0" + b"".join(steps) + b"e}h" + bytes([levels]) + b"K\1s."


def nested(levels: int) -> bytes:
    """A pickle of a tuple in a tuple, and so on, as a key."""
    return b"\x80\x02}X\x01\0\0\0a" + b"\x85" * levels + b"K\1s."


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("key", [doubled(60), nested(2_000_000)], ids=["doubled", "nested"])
def test_a_pickle_that_never_ends_or_crashes_is_refused(
    key: bytes, zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process the first took for ever, and the second ended it by a segmentation fault."""
    monkeypatch.setattr(weights, "_PICKLE_SECONDS", 1)
    path = tmp_path / "w.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", key)
    else:
        about = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        path.write_bytes(b"".join(pickle.dumps(value, 2) for value in about) + key)
    with pytest.raises(
        WeightsError, match=r"w\.pth' cannot be read: its pickle takes far too much"
    ):
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
