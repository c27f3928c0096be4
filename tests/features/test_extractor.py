"""An image's feature is its own, from the right stream, and the same however it is asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.helpers.trees import write_sysu

import vireid
from vireid.data.layouts import DataSource
from vireid.errors import ImageError, RunError
from vireid.features import FeatureExtractor, TorchBackend, load
from vireid.methods import Batch, DLISConfig, Optimisation, Recipe
from vireid.runs import Run
from vireid.training import fit
from vireid.types import ImageRecord, Modality


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = write_sysu(tmp_path_factory.mktemp("data") / "sysu")
    method = DLISConfig(
        backbone="resnet18", weights="none", size=(64, 32), stripes=2, dim=8, shared_from="layer2"
    )
    return Run(
        name="dlis",
        recipe=Recipe(
            method=method, batch=Batch(identities=2, images=2), optimisation=Optimisation(epochs=1)
        ),
        data=DataSource(layout="sysu-mm01", root=root),
        device="cpu",
    )


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(run, tmp_path_factory.mktemp("runs") / "r", progress_bar=False)


@pytest.fixture(scope="module")
def records(run: Run) -> tuple[ImageRecord, ...]:
    return run.data.open().test()


def test_features_are_in_the_order_of_the_records(
    folder: Path, records: tuple[ImageRecord, ...]
) -> None:
    extractor = vireid.load(folder)
    mixed = [records[i] for i in np.random.default_rng(0).permutation(len(records))]
    found = extractor.extract(mixed, batch_size=5, progress=False)
    assert found.records == tuple(mixed)
    assert found.values.shape == (len(mixed), 16)
    assert found.values.dtype == np.float32
    assert np.allclose(np.linalg.norm(found.values, axis=1), 1, atol=1e-5)
    for row, record in list(zip(found.values, mixed, strict=True))[::7]:
        alone = extractor.extract([record], progress=False).values[0]
        assert np.allclose(row, alone, atol=1e-5)


def test_the_modality_selects_the_stream(folder: Path, records: tuple[ImageRecord, ...]) -> None:
    extractor = load(folder)
    other = replace(records[0], modality=records[0].modality.other)
    a, b = (extractor.extract([r], progress=False).values for r in (records[0], other))
    assert not np.allclose(a, b, atol=1e-3)


def test_loading_returns_the_trained_weights(folder: Path, run: Run) -> None:
    extractor = load(folder)
    assert extractor.fingerprint in (folder / "model.safetensors").read_bytes()[:400].decode(
        errors="replace"
    )
    assert extractor.fingerprint != FeatureExtractor.untrained(run, classes=5).fingerprint
    assert extractor.about["recipe"] == "dlis"
    assert isinstance(extractor.backend, TorchBackend)
    assert not extractor.backend.network.training


def test_attention_over_an_image(folder: Path, records: tuple[ImageRecord, ...], run: Run) -> None:
    chosen = [records[0], next(r for r in records if r.modality is Modality.INFRARED)]
    maps = load(folder).attention(chosen)
    assert [m.record for m in maps] == chosen
    for found in maps:
        assert found.grid == (4, 2)
        assert found.weights.shape == (8, 8)
        assert np.allclose(found.weights.sum(1), 1, atol=1e-5)
    assert isinstance(run.recipe.method, DLISConfig)
    without = replace(
        run, recipe=replace(run.recipe, method=replace(run.recipe.method, palm="off"))
    )
    assert FeatureExtractor.untrained(without, classes=5).attention(chosen) == []


def test_a_bad_image_is_named(
    folder: Path, records: tuple[ImageRecord, ...], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("not an image")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        load(folder).extract([*records[:3], replace(records[0], path=bad)], progress=False)


@pytest.mark.parametrize("dim", [9, 65_536])
def test_a_config_that_was_changed_after_training_is_refused(
    folder: Path, tmp_path: Path, dim: int
) -> None:
    """A network far too large for the memory is never built."""
    for name in ("config.yaml", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("dim: 8", f"dim: {dim}"))
    with pytest.raises(RunError, match="changed after training"):
        load(tmp_path)


def test_flipping_is_the_mean_with_the_mirror_image(
    folder: Path, records: tuple[ImageRecord, ...], tmp_path: Path
) -> None:
    extractor = vireid.load(folder)
    some = records[:6]
    mirrored = []
    for record in some:
        path = tmp_path / f"{record.camera}-{record.identity}-{record.path.stem}.png"
        with Image.open(record.path) as image:
            ImageOps.mirror(image.convert("RGB")).save(path)
        mirrored.append(replace(record, path=path))
    plain, mirror = (extractor.extract(which, progress=False) for which in (some, mirrored))
    both = extractor.extract(some, flip=True, progress=False)
    expected = plain.values + mirror.values
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(both.values, expected, atol=2e-3)
    assert np.abs(both.values - plain.values).max() > 4e-3
    assert (plain.augmentation, both.augmentation) == ("none", "horizontal flip")
