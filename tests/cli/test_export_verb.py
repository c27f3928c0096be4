"""An export stands where a run does: on the command line, in a gallery and behind the page."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.app.people import PEOPLE, photograph, write_gallery, write_run
from tests.app.visitor import Visitor
from tests.helpers.exports import traced_networks_kept

from vireid.cli import main
from vireid.cli.export import export
from vireid.errors import ConfigError
from vireid.features import load
from vireid.features.parquet import FeatureFile
from vireid.gallery import open_gallery
from vireid.types import ImageRecord, Modality

DOCS = Path(__file__).parents[2] / "docs/export.md"


@pytest.fixture(scope="module", autouse=True)
def traced_once() -> Iterator[None]:
    """To trace the same network for each export would take minutes."""
    with traced_networks_kept():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose data set is not there."""
    return write_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everybody in colour and grey."""
    folder = tmp_path_factory.mktemp("images é")
    for person in range(PEOPLE):
        for grey in (False, True):
            data = photograph(person, camera=int(grey), grey=grey)
            (folder / f"{person}-{'night' if grey else 'day'}.png").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "dlis onnx"
    words = ["--format", "onnx", "--images", str(images), "--out", str(out)]
    assert main(["export", str(run), *words]) == 0
    return out


def test_images_that_are_named(
    run: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "e"
    words = ["export", str(run), "--format", "openvino", "--out", str(out), "--images"]
    assert main([*words, str(images)]) == 0
    told = capsys.readouterr()
    fingerprint = load(run).fingerprint
    assert f"'{out}' contains network {fingerprint} as openvino, f32:" in told.out
    # Its two modalities take the same way.
    assert "f32:\nboth.xml\n" in told.out
    assert f"on {2 * PEOPLE} images, and on {4 * PEOPLE} of 83x39 to 96x48\npixels" in told.out
    assert "100.0 % of the queries have the same first match" in told.out
    # Nothing of other packages' messages.
    assert told.err == "Tracing the network …\nChecking the export against the run …\n"
    only_day = [str(path) for path in images.glob("*day*")]
    assert main([*words[:5], str(tmp_path / "f"), "--images", *only_day]) == 2
    assert "--images names 0 infrared images" in capsys.readouterr().err


def test_describing_into_a_file(run: Path, exported: Path, images: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.parquet" for number in range(2)]
    for network, file in zip((run, exported), files, strict=True):
        assert main(["encode", str(network), str(images), "--out", str(file)]) == 0
    opened = [FeatureFile(file) for file in files]
    assert opened[0].model.fingerprint == opened[1].model.fingerprint
    [first], [second] = map(list, opened)
    assert [one.info.path for one in first.images] == [one.info.path for one in second.images]
    np.testing.assert_allclose(first.values, second.values, atol=1e-4)


def test_a_gallery_of_the_run_is_searched_with_its_export(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = write_gallery(tmp_path / "people", load(run))
    query = tmp_path / "night.png"
    query.write_bytes(photograph(3, grey=True, frame=7))
    answers = []
    for network in (run, exported):
        assert main(["gallery", "search", str(gallery), "--run", str(network), str(query)]) == 0
        answers.append(capsys.readouterr().out)
    assert "person 3" in answers[0]
    assert answers[0] == answers[1]
    assert main(["gallery", "add", str(gallery), "--run", str(exported), str(query)]) == 0


def test_the_page_over_an_export(exported: Path, run: Path, tmp_path: Path) -> None:
    extractor = load(exported)
    place = write_gallery(tmp_path / "people", load(run))
    with open_gallery(place, model=extractor.model_info) as gallery:
        visitor = Visitor(gallery, extractor, tmp_path / "log", read_only=True)
        info = visitor.ask("GET", "/api/info").json()
        assert (info["attention"], info["model"]["export"]) == (False, "onnx")
        query = photograph(2, grey=True)
        answer = visitor.ask("POST", "/api/search", files={"images": ("q.png", query)}).json()
        found = answer["groups"][0][0]["entry"]
        assert found["identity"] == "person 2"
        refused = visitor.ask(
            "POST",
            "/api/attention",
            files={"image": ("q.png", query)},
            data={"result": found["id"]},
        )
        assert refused.status_code == 404
        assert "no attention to show; expected a run" in refused.text
        visitor.handlers.close()


def test_an_export_of_an_export(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is an export already"):
        export(exported, format="onnx", out=tmp_path / "out")


def test_the_snippet_of_the_documentation(
    run: Path, exported: Path, images: Path, tmp_path: Path
) -> None:
    """It runs without vireid and torch, and gives the run's features."""
    _, _, after = DOCS.read_text().partition("```python\n")
    code, _, _ = after.partition("```")
    (tmp_path / "EXPORT").symlink_to(exported)
    for name, image in (("night.png", "1-night.png"), ("day.png", "1-day.png")):
        (tmp_path / name).write_bytes((images / image).read_bytes())
    check = "\nimport sys\nassert not {'torch', 'vireid'} & set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code + check],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    modalities = {"night.png": Modality.INFRARED, "day.png": Modality.VISIBLE}
    records = [ImageRecord(tmp_path / name, 1, 1, light) for name, light in modalities.items()]
    first, second = load(run).extract(records, progress=False).values
    assert float(done.stdout.split()[-1]) == pytest.approx(float(first @ second), abs=1e-4)
