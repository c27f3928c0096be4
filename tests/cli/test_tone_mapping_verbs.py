"""One tone mapping from training to search: every command maps 16-bit images the same way."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi import UploadFile
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.trees import save_manifest

from vireid.app.limits import DEFAULT_LIMITS
from vireid.app.models import SearchForm
from vireid.app.service import Service
from vireid.app.uploads import Upload
from vireid.cli import main
from vireid.cli._images import load_for_gallery
from vireid.data.images import read_image, read_resized
from vireid.data.layouts import DataSource
from vireid.data.listing import list_images
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import ConfigError
from vireid.export import images_listed, images_of_run
from vireid.features import extract_from_bytes, extract_from_files, load
from vireid.features.parquet import FeatureFile
from vireid.gallery import open_gallery
from vireid.methods import DLISConfig, Recipe
from vireid.methods.recipe import Batch
from vireid.runs import Run, RunFolder
from vireid.training.batches import TrainingSet
from vireid.types import ImageRecord

SIZE = (64, 32)
BOUNDS = "bounds:yard=29200:30800"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people in an 8-bit visible, a radiometric and a 12-bit infrared camera."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for person in range(4):
        body = np.random.default_rng(person).uniform(0, 1, (8, 4))
        shape = np.kron(body, np.ones((8, 8)))
        cameras: dict[str, NDArray[np.generic]] = {
            "hall": (shape[..., None] * (255, 200, 150)).astype(np.uint8),
            "yard": (29_000 + 2_000 * shape).astype(np.uint16),
            "gate": (200 + 3_000 * shape).astype(np.uint16),
        }
        for camera, pixels in cameras.items():
            path = f"{person}-{camera}.png"
            Image.fromarray(pixels).save(folder / path)
            rows.append(
                {
                    "path": path,
                    "identity": f"p{person}",
                    "camera": camera,
                    "modality": "visible" if camera == "hall" else "infrared",
                    "split": "train" if person < 2 else "test",
                }
            )
    return save_manifest(folder / "list.csv", rows)


@pytest.fixture(scope="module")
def run(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of these bounds, untrained."""
    method = DLISConfig(
        backbone="resnet18", weights="none", size=SIZE, stripes=2, dim=8, shared_from="stem"
    )
    made = RunFolder(tmp_path_factory.mktemp("run"))
    made.start(
        Run(
            name="dlis",
            recipe=Recipe(method=method, batch=Batch(identities=2, images=2)),
            data=DataSource(layout="manifest", root=tree),
            tone_mapping=BOUNDS,
            device="cpu",
        )
    )
    torch.manual_seed(0)
    made.write_model(method.build(classes=2).state_dict(), classes=2)
    return made.path


def expected(records: Sequence[ImageRecord]) -> NDArray[np.uint8]:
    """The pixels that every path must give, ``[n, H, W, 3]``."""
    how = {"yard": ToneMapping.parse("bounds:29200:30800")}
    own = [how.get(record.path.stem[2:], ToneMapping()) for record in records]
    pairs = zip(records, own, strict=True)
    return np.stack([read_resized(record.path, SIZE, mapping) for record, mapping in pairs])


def test_training_and_the_export_read_what_is_given(run: Path, tmp_path: Path) -> None:
    configured = RunFolder(run).read_config()
    assert configured.tone_mapping == BOUNDS
    for cache in (None, tmp_path / "cache"):
        with TrainingSet(configured, cache=cache) as training:
            pixels = training.open_images().fetch(range(len(training.records)))
            found = pixels.permute(0, 2, 3, 1).numpy()
            np.testing.assert_array_equal(found, expected(training.records))
    root = configured.data.root
    how = ToneMapping.parse(BOUNDS)
    listed = list_images([str(root)])
    for images in (
        images_of_run(configured, root=None, count=2, seed=0),
        images_listed(listed, count=2, seed=0, tone_mapping=how),
    ):
        given = [np.asarray(image.image) for image in (*images.check, *images.calibration)]
        known = [np.asarray(read_image(info.path, how.of(info.camera))) for info in listed]
        assert len(given) > 4
        assert all(any(np.array_equal(one, other) for other in known) for one in given)


def test_a_camera_that_is_not_there_stops_training(run: Path) -> None:
    configured = RunFolder(run).read_config()
    object.__setattr__(configured, "tone_mapping", "bounds:yrad=1:2")
    with pytest.raises(ConfigError, match=r"'yrad', but the cameras are 'gate', 'hall', 'yard'"):
        TrainingSet(configured)


def test_evaluation_files_and_uploads_give_the_same_features(
    run: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extractor = load(run)
    assert extractor.about["tone mapping"] == BOUNDS
    layout = DataSource(layout="manifest", root=tree).open()
    records = sorted((*layout.train(), *layout.test()))
    values = extractor.extract(records).values
    said = capsys.readouterr().err
    assert "4 images of more than 8 bits: 29200 to 30800 become 0 to 255" in said
    assert "4 images of more than 8 bits: stretched between the percentiles 1 and 99" in said
    pixels = torch.from_numpy(expected(records)).permute(0, 3, 1, 2)
    np.testing.assert_allclose(
        extractor.extract_pixels(pixels, [r.modality for r in records]), values, atol=1e-5
    )
    listed = sorted(list_images([str(tree)]), key=lambda info: info.path)
    (batch,) = extract_from_files(extractor, listed)
    np.testing.assert_allclose(batch.values, values, atol=1e-5)
    uploads = extract_from_bytes(extractor, [info.path.read_bytes() for info in listed], listed)
    np.testing.assert_allclose([image.feature for image in uploads], values, atol=1e-5)
    plain = load(run, tone_mapping="full").extract(records, progress=False).values
    yard = [i for i, record in enumerate(records) if record.path.stem.endswith("yard")]
    assert np.abs(plain - values)[yard].max() > 0.01


def test_encode_names_it_and_says_what_was_mapped(
    run: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.parquet"
    assert main(["encode", str(run), str(tree), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (
        "4 images of more than 8 bits: 29200 to 30800 become 0 to 255 (tone mapping"
        " bounds:29200:30800)." in printed
    )
    assert "4 images of more than 8 bits: stretched between the percentiles 1 and 99" in printed
    before = FeatureFile(out)
    assert before.model.about["tone mapping"] == BOUNDS
    rows = [np.concatenate([batch.values for batch in before])]
    again = ["encode", str(run), str(tree), "--out", str(out), "--tone-mapping", "percentile"]
    assert main(again) == 0
    after = FeatureFile(out)
    assert after.model.about["tone mapping"] == "percentile:1:99"
    rows.append(np.concatenate([batch.values for batch in after]))
    assert np.abs(rows[0] - rows[1]).max() > 0.01
    assert main([*again[:-1], "gamma"]) == 2
    assert "The tone mapping 'gamma' is not valid; expected auto, full" in capsys.readouterr().err


def test_shards_of_another_mapping_are_refused(
    run: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["encode", str(run), str(tree), "--out", str(tmp_path / "s"), "--shard-rows", "5"]
    assert main([*command, "--part", "1/2"]) == 0
    assert main([*command, "--part", "2/2", "--tone-mapping", "full"]) == 2
    assert f"another tone mapping: {BOUNDS}, and now it is full" in capsys.readouterr().err


def test_a_gallery_keeps_its_mapping(
    run: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, own = str(tmp_path / "g"), "bounds:29100:30900"
    files = [str(tree.parent / f"{person}-yard.png") for person in range(4)]
    add = ["gallery", "add", gallery, "--run", str(run)]
    assert main([*add, *files[:2], "--tone-mapping", own]) == 0
    assert (
        f"2 images of more than 8 bits: 29100 to 30900 become 0 to 255 (tone mapping {own})."
        in (capsys.readouterr().out)
    )
    assert main([*add, *files[2:]]) == 0  # without the flag: the gallery's, not the run's
    assert f"(tone mapping {own})." in capsys.readouterr().out
    # An image that is not found in spite of its copy in the gallery was read otherwise.
    copy = tmp_path / "query.png"
    Image.open(files[2]).save(copy, compress_level=1)
    assert main(["gallery", "search", gallery, str(copy), "--run", str(run), "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert hits[0]["name"] == "2-yard.png"
    assert hits[0]["score"] > 0.99999
    assert main(["gallery", "search", gallery, str(copy), "--run", str(run)]) == 0
    assert f"1 image of more than 8 bits: 29100 to 30900 become 0 to 255 (tone mapping {own})." in (
        capsys.readouterr().out
    )

    extractor = load_for_gallery(run, gallery, device=None)
    with open_gallery(gallery, model=extractor.model_info) as opened:
        service = Service(opened, extractor, name="g", limits=DEFAULT_LIMITS)
        upload = Upload(name="query.png", data=copy.read_bytes())
        form = SearchForm(images=[UploadFile(io.BytesIO(upload.data))])
        found, _ = service.search(form, [upload])
    assert found.groups[0][0].entry.name == "2-yard.png"
    assert found.groups[0][0].score > 0.99999

    refusal = f"were read with the tone mapping '{own}', but the one in use is"
    assert main([*add, *files, "--tone-mapping", "full"]) == 2
    assert f"{refusal} 'full'" in capsys.readouterr().err
    encoded = tmp_path / "a.parquet"
    assert main(["encode", str(run), *files, "--out", str(encoded)]) == 0
    capsys.readouterr()
    assert main(["gallery", "add", gallery, "--encoded", str(encoded)]) == 2
    assert f"{refusal} '{BOUNDS}'" in capsys.readouterr().err
