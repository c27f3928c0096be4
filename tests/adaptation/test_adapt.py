"""Adaptation from unlabelled folders to a run."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vireid.cli import main
from vireid.features import load
from vireid.runs import RunFolder
from vireid.testing import same_run

OPTIONS = (
    *("--rounds", "3", "--within", "1", "--k1", "5", "--k2", "2", "--cut", "0.6"),
    *("--min-images", "3", "--identities", "3", "--images", "2"),
    *("--settled", "1", "--device", "cpu"),
)


@pytest.fixture(scope="module")
def adapted(finished: Path, cameras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "adapted"
    folders = [str(cameras / name) for name in ("day", "night")]
    log = ("--log", "tensorboard")
    assert main(["adapt", str(finished), *folders, "--out", str(out), *OPTIONS, *log]) == 0
    return out


def test_the_rounds_are_logged(adapted: Path) -> None:
    """TensorBoard gets what a round prints, by the names of ``metrics.jsonl``."""
    from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]

    events = event_accumulator.EventAccumulator(str(adapted / "tensorboard")).Reload()
    lines = [json.loads(line) for line in (adapted / "metrics.jsonl").read_text().splitlines()]
    for name in ("infrared_clusters", "visible_silhouette", "agreement"):
        logged = [event.value for event in events.Scalars(name)]
        assert logged == pytest.approx([line[name] for line in lines])
    assert "loss/within" in events.Tags()["scalars"]


def test_the_result_is_a_run(adapted: Path, finished: Path, cameras: Path) -> None:
    run = RunFolder(adapted).read_config()
    assert run.adaptation is not None
    assert run.start is not None
    assert run.start.fingerprint == RunFolder(finished).read_model()[2]
    found = load(adapted, device="cpu")
    features = found.extract([*cameras.rglob("*.png")][:4], progress=False)
    assert features.values.shape == (4, 16)
    assert found.fingerprint != run.start.fingerprint
    data = RunFolder(adapted).read_data()
    assert not data.labelled
    assert "without labels, before on " in data.trained_on


def test_no_identity_is_written_or_used(adapted: Path) -> None:
    assert [row["identity"] for row in _rows(adapted)] == [str(n) for n in range(60)]
    lines = [json.loads(line) for line in (adapted / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert not any("purity" in key or "right" in key for line in lines for key in line)


def test_a_gallery_stands_for_the_images_of_its_entries(
    adapted: Path,
    finished: Path,
    cameras: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, out = str(tmp_path / "people"), tmp_path / "out"
    day, night = str(cameras / "day"), str(cameras / "night")
    assert main(["gallery", "add", place, day, night, "--run", str(finished)]) == 0
    capsys.readouterr()
    words = ["adapt", str(finished), place, *OPTIONS, "--rounds", "1", "--camera", "yard"]
    assert main([*words, "--out", str(out)]) == 0
    assert "`vireid adapt --within 1` leaves none of 1 round for" in capsys.readouterr().err
    (found, expected) = (
        sorted((row["path"], row["modality"]) for row in _rows(run)) for run in (out, adapted)
    )
    assert found == expected
    assert {row["camera"] for row in _rows(out)} == {"yard"}
    gone = cameras / "day" / "gone.png"
    shutil.copy(cameras / "day" / "p0_0.png", gone)
    with gone.open("ab") as file:
        file.write(b"other bytes")
    assert main(["gallery", "add", place, str(gone), "--run", str(finished)]) == 0
    gone.unlink()
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "other")]) == 2
    assert f"'{gone}'" in capsys.readouterr().err


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "images.csv").open() as file:
        return list(csv.DictReader(file))


def test_an_interrupted_adaptation_ends_as_if_it_had_not_been(
    adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = shutil.copytree(adapted, tmp_path / "again")
    (again / "model.safetensors").unlink()
    newest = sorted((again / "checkpoints").iterdir())[-1]
    newest.unlink()
    resume = ["train", "--resume", str(again), "--device", "cpu"]
    assert main([*resume, "--devices", "2"]) == 2
    assert "expected no options of several processes" in capsys.readouterr().err
    assert main(resume) == 0
    assert same_run(again, adapted)


def test_double_precision_is_that_of_training(
    finished: Path, cameras: Path, tmp_path: Path
) -> None:
    out = tmp_path / "adapted"
    folders = [str(cameras / name) for name in ("day", "night")]
    words = ["adapt", str(finished), *folders, "--out", str(out), *OPTIONS, "--rounds", "1"]
    assert main([*words, "--within", "0", "--precision", "64-true"]) == 0
    (saved,) = (out / "checkpoints").iterdir()
    found = {tensor.dtype for name, tensor in load_file(saved).items() if "network" in name}
    assert torch.float64 in found
    assert torch.float32 not in found
