"""A training set gives the same batches with and without the packed cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.utilities.apply_func import move_data_to_device
from PIL import Image
from torch import Tensor

from vireid.data import images
from vireid.data.images import read_resized
from vireid.data.sampler import BatchShard, class_indices
from vireid.data.tone_mapping import ToneMapping
from vireid.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augmentation,
    augment,
    normalise,
)
from vireid.distributed.comm import make_fabric
from vireid.errors import ConfigError
from vireid.runs import Run
from vireid.training.batches import TrainingSet, mix_seed
from vireid.types import CrossModalBatch, Modality


def epoch(run: Run, cache: Path | None, first_step: int = 0) -> list[CrossModalBatch]:
    with TrainingSet(run, cache=cache) as data:
        return list(data.batches(1, first_step, lambda tensor: tensor))


def equal(a: CrossModalBatch, b: CrossModalBatch) -> bool:
    tensors = zip(a[:4], b[:4], strict=True)
    return a.names == b.names and all(torch.equal(x, y) for x, y in tensors)


def test_the_cache_does_not_change_batches(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = epoch(run, None)
    assert len(decoded) > 1
    cache = tmp_path / "cache"
    for _ in range(2):
        packed = epoch(run, cache)
        assert all(equal(a, b) for a, b in zip(packed, decoded, strict=True))

        def refuse(path: Path, tone_mapping: ToneMapping) -> Image.Image:
            raise AssertionError(f"{path} is decoded although the cache is there")

        monkeypatch.setattr(images, "read_image", refuse)
    assert all(equal(a, b) for a, b in zip(epoch(run, cache, 1), decoded[1:], strict=True))


def test_images_names_and_labels_match(run: Run, tmp_path: Path) -> None:
    plain = replace(run.recipe, augmentation=Augmentation(pad=0, flip=False))
    records = {str(record.path): record for record in run.data.open().train()}
    classes = class_indices(records.values())
    for batch in epoch(replace(run, recipe=plain), tmp_path / "cache"):
        chosen = [records[name] for name in batch.names]
        half = len(batch.visible)
        assert {r.modality for r in chosen[:half]} == {Modality.VISIBLE}
        assert {r.modality for r in chosen[half:]} == {Modality.INFRARED}
        labels = torch.cat([batch.visible_labels, batch.infrared_labels])
        assert labels.tolist() == [classes[r.identity] for r in chosen]
        pixels = [read_resized(r.path, run.recipe.method.size) for r in chosen]
        expected = normalise(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
        assert torch.equal(torch.cat([batch.visible, batch.infrared]), expected)


def test_second_views_are_last_and_do_not_change_the_others(run: Run, tmp_path: Path) -> None:
    once = Augmentation(pad=3, erasing=0.5)
    twice = replace(once, joint=True, grey=False)
    cache = tmp_path / "cache"
    raw = Augmentation(pad=0, flip=False)
    untouched, single, double = (
        epoch(replace(run, recipe=replace(run.recipe, augmentation=how)), cache)
        for how in (raw, once, twice)
    )
    for step, (plain, first, both) in enumerate(zip(untouched, single, double, strict=True)):
        n = len(first.visible)
        assert len(both.visible) == 2 * n
        assert torch.equal(both.visible[:n], first.visible)
        assert torch.equal(both.infrared, first.infrared)
        assert both.names == first.names[:n] + first.names
        assert torch.equal(both.visible_labels, first.visible_labels.repeat(2))
        assert torch.equal(both.infrared_labels, first.infrared_labels)
        # One generator draws all random numbers of a batch: visible, infrared, second views.
        random = torch.Generator().manual_seed(mix_seed(run.seed, 1, step))
        visible, infrared = (pixels(images) for images in (plain.visible, plain.infrared))
        assert torch.equal(augment(visible, Modality.VISIBLE, once, random), first.visible)
        assert torch.equal(augment(infrared, Modality.INFRARED, once, random), first.infrared)
        second = augment(visible, Modality.VISIBLE, replace(twice, channel=1.0), random)
        assert torch.equal(second, both.visible[n:])
        assert not torch.equal(both.visible[n:], both.visible[:n])


@pytest.mark.parametrize("parts", [2, 4])
def test_the_shards_of_a_batch_make_up_the_batch(run: Run, tmp_path: Path, parts: int) -> None:
    """Images, names and random numbers equal those of one process; identities are not split."""
    how = Augmentation(pad=3, erasing=0.5, channel=0.5, joint=True)
    varied = replace(run, recipe=replace(run.recipe, augmentation=how))
    whole = epoch(varied, tmp_path / "cache")
    shares = []
    for rank in range(parts):
        with TrainingSet(varied, shard=BatchShard(rank, parts)) as data:
            shares.append(list(data.batches(1, 0, lambda tensor: tensor)))
    for batch, *own in zip(whole, *shares, strict=True):
        n = len(batch.infrared) // parts
        # Each visible image has two views, and each shard both views of its own.
        views = [torch.stack(part.visible.chunk(2)) for part in own]
        assert torch.equal(torch.cat(views, dim=1).flatten(0, 1), batch.visible)
        assert torch.equal(torch.cat([part.infrared for part in own]), batch.infrared)
        for rank, part in enumerate(own):
            assert torch.equal(part.infrared_labels, batch.infrared_labels)
            mine = batch.infrared_labels[rank * n : (rank + 1) * n]
            assert len(mine.unique()) == len(batch.infrared_labels.unique()) // parts
            # Labels of visible images are in the order of the gathered rows, by process.
            rows = part.visible_labels[2 * rank * n : 2 * (rank + 1) * n]
            assert torch.equal(rows, mine.repeat(2))
            assert part.names[2 * n :] == batch.names[-parts * n :][rank * n : (rank + 1) * n]


def test_identities_that_processes_cannot_share_are_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"3 processes cannot share '4' identities.*--devices"):
        TrainingSet(run, shard=BatchShard(0, 3))


def pixels(normalised: Tensor) -> Tensor:
    """Undo :func:`normalise`."""
    scale = torch.tensor(IMAGENET_STD)[:, None, None]
    shift = torch.tensor(IMAGENET_MEAN)[:, None, None]
    return ((normalised * scale + shift) * 255).round().to(torch.uint8)


def test_training_continues_without_room_for_a_cache(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some_file = tree / "exp" / "train_id.txt"
    batches = epoch(run, some_file / "cache")
    assert all(equal(a, b) for a, b in zip(batches, epoch(run, None), strict=True))
    said = capsys.readouterr().err
    assert said.startswith(f"Images are decoded each time: '{some_file}/cache' cannot hold")
    assert said.count("\n") == 1


def test_a_gpu_gets_pinned_pixels_that_it_copies_without_waiting(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without a GPU: what it would be given is recorded."""
    expected = epoch(run, None)
    pinned: list[int] = []

    def pin(tensor: Tensor) -> Tensor:
        copy = tensor.clone()
        pinned.append(copy.untyped_storage().data_ptr())
        return copy

    def to_device(tensor: Tensor) -> Tensor:
        if tensor.ndim == 4:
            assert tensor.untyped_storage().data_ptr() in pinned
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with TrainingSet(replace(run, device="cuda")) as data:
        found = list(data.batches(1, 0, to_device))
    assert len(pinned) == len(expected)
    assert all(equal(a, b) for a, b in zip(found, expected, strict=True))
    moved: list[dict[str, object]] = []

    def move(tensor: Tensor, device: torch.device, **how: object) -> Tensor:
        moved.append(how)
        return tensor

    monkeypatch.setattr(Tensor, "to", move)
    move_data_to_device(torch.zeros(1), torch.device("cuda", 0))
    assert moved == [{"non_blocking": True}]


def test_bfloat16_needs_no_scaler() -> None:
    precision = make_fabric(accelerator="cpu", devices=1, precision="bf16-mixed")._precision
    assert isinstance(precision, MixedPrecision)
    assert precision.scaler is None
