"""Installed models: packing, the list, and their use by name in every command."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models.pack import MAX_MEGABYTES, interpolated, pack
from tests.app.people import photograph, write_run
from tests.helpers.models import hide_models, install_model
from tests.helpers.trees import write_regdb, write_sysu

import vireid
from vireid.cli import main
from vireid.cli.serve import serve
from vireid.data.provenance import Provenance
from vireid.errors import ConfigError, EvaluationError, GalleryError, RunError
from vireid.features import load
from vireid.features.parquet import FeatureFile
from vireid.files import write_atomic
from vireid.gallery import open_gallery
from vireid.models import Description, InstalledModel, default_model, installed_models
from vireid.nn.weights import fingerprint
from vireid.runs import RunFolder, Start, resolve_model

NAME = "synvi-lite0"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose training data had three identities."""
    folder = tmp_path_factory.mktemp("run")
    return write_run(folder / "r", root=write_sysu(folder / "sysu"), backbone="mobilenet_v2")


@pytest.fixture(scope="module")
def packed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of models, with that run as the default model."""
    with pytest.MonkeyPatch.context() as patch:
        return install_model(run, tmp_path_factory.mktemp("site"), patch).parent


@pytest.fixture
def model(packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The installed model, in a folder with images of the day and of the night."""
    monkeypatch.syspath_prepend(packed.parent)
    monkeypatch.chdir(tmp_path)
    for folder, camera in (("day", 0), ("night", 1)):
        (tmp_path / folder).mkdir()
        for person in range(4):
            data = photograph(person, camera=camera, grey=camera == 1)
            (tmp_path / folder / f"{person}.png").write_bytes(data)
    return packed / NAME


@pytest.fixture
def site(packed: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package of models, which a test may change."""
    shutil.copytree(packed, tmp_path / "site" / "vireid_models")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


Ran = Callable[..., tuple[str, str]]


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Ran:
    """Runs a command; returns its output and its messages."""

    def command(*words: str | Path, status: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main([str(word) for word in words]) == status
        printed = capsys.readouterr()
        return printed.out, " ".join(printed.err.split())

    return command


def test_a_packed_model_is_the_run_in_half_precision(run: Path, model: Path) -> None:
    stored, kept = (RunFolder(path).read_model() for path in (run, model))
    assert kept[1] == 2
    for key, tensor in stored[0].items():
        halved = tensor.half().float() if tensor.dim() > 1 else tensor
        if key.startswith("heads.classifier"):
            assert not kept[0][key].any()
        else:
            assert torch.equal(kept[0][key], halved), key
    assert kept[2] == fingerprint(kept[0]) == load(model).fingerprint != stored[2]
    small, large = ((p / "model.safetensors").stat().st_size for p in (model, run))
    assert small < 0.51 * large
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 32, 3), dtype=np.uint8)
    values = [load(p).extract(images, modality="visible").values for p in (run, model)]
    assert (values[0] * values[1]).sum(1).min() > 0.9999
    assert (values[0] != values[1]).any()


def test_packing_again_gives_the_same_bytes(run: Path, model: Path, tmp_path: Path) -> None:
    again = pack(run, NAME, out=tmp_path / "out")
    for file in sorted(model.iterdir()):
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_packed_model_names_no_folder_of_the_machine(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(run, tmp_path / "started")))
    config = folder.read_config()
    method = replace(config.recipe.method, weights=tmp_path / "own.pth")
    folder.start(replace(config, recipe=replace(config.recipe, method=method)))
    made = pack(folder.path, "own", out=tmp_path / "out")
    for file in ("config.yaml", "data.json", "model.json", "MODEL_CARD.md"):
        text = (made / file).read_text()
        assert str(tmp_path) not in text
        assert str(run.parent) not in text
    after = RunFolder(made).read_config()
    assert (after.device, after.precision) == ("auto", "32-true")
    assert str(after.recipe.method.weights) == "own.pth"


def test_values_beyond_half_precision_are_refused(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(run, tmp_path / "large")))
    state, classes, _ = folder.read_model()
    next(tensor for tensor in state.values() if tensor.dim() == 4).fill_(1e6)
    folder.write_model(state, classes=classes)
    with pytest.raises(RunError, match="beyond those of half precision"):
        pack(folder.path, "large", out=tmp_path / "out")


def test_weights_are_interpolated_with_imagenet(run: Path, tmp_path: Path) -> None:
    config = RunFolder(run).read_config()
    config = replace(
        config,
        recipe=replace(
            config.recipe,
            method=replace(config.recipe.method, backbone="efficientnet_lite0", weights="imagenet"),
        ),
    )
    torch.manual_seed(5)
    start = config.recipe.method.build(classes=2).state_dict()
    floating = [key for key, tensor in start.items() if tensor.is_floating_point()]
    found = interpolated({**start, **{key: start[key] + 1 for key in floating}}, config, 0.25)
    moved = {key: float((found[key] - start[key]).mean()) for key in floating}
    backbone = {key for key in moved if key.startswith("streams.") and moved[key] < 0.5}
    assert all(moved[key] == pytest.approx(0.25, abs=1e-4) for key in backbone)
    assert all(moved[key] == pytest.approx(1, abs=1e-4) for key in moved.keys() - backbone)
    # All of the convolutions and the statistics, and none of the heads.
    assert any(key.endswith("running_var") for key in backbone)
    assert not any(key.startswith("heads.") for key in backbone)
    # A run that starts from that run's network has the same start.
    first = RunFolder(tmp_path / "first")
    first.path.mkdir()
    first.write_config(config, comment="a test")
    second = replace(
        config,
        start=Start(model=first.path, fingerprint="0"),
        recipe=replace(config.recipe, method=replace(config.recipe.method, weights="none")),
    )
    again = interpolated({**start, **{key: start[key] + 1 for key in floating}}, second, 0.25)
    assert all(torch.equal(again[key], tensor) for key, tensor in found.items())
    with pytest.raises(ConfigError, match="started from 'none'; expected --weights imagenet"):
        pack(run, "own", out=tmp_path / "out", interpolate=0.5)
    with pytest.raises(ConfigError, match="--interpolate is 2"):
        pack(run, "own", out=tmp_path / "out", interpolate=2)


def test_the_list(model: Path, ran: Ran) -> None:
    out, _ = ran("models")
    assert f"{NAME} (default): Trained on SYSU-MM01" in out
    assert "re-identification, input 64x32, " in out
    assert "no figures" in out
    [row] = json.loads(ran("models", "--json")[0])
    assert (row["name"], row["default"], row["licence"]) == (NAME, True, "Apache-2.0")
    assert row["fingerprint"] == load(model).fingerprint
    assert row["megabytes"] == pytest.approx(
        sum(file.stat().st_size for file in model.iterdir()) / 1e6, abs=0.01
    )


def test_the_list_without_a_model(monkeypatch: pytest.MonkeyPatch, ran: Ran) -> None:
    hide_models(monkeypatch)
    assert "No model for re-identification is installed; `pip install ./models`" in ran("models")[0]
    assert json.loads(ran("models", "--json")[0]) == []


def test_the_list_needs_no_torch(model: Path) -> None:
    code = """
import sys
from vireid.cli import main
main(['models'])
sys.exit('torch' in sys.modules)"""
    path = os.pathsep.join([str(model.parents[1]), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def test_figures_are_of_these_weights(run: Path, site: Path, tmp_path: Path, ran: Ran) -> None:
    root = write_regdb(tmp_path / "regdb")
    evaluated = ("--layout", "regdb", "--root", root, "--no-figures")
    assert "data set that 'synvi-lite0' was trained on" in ran("evaluate", NAME, *evaluated)[1]
    files = tuple(sorted(Path(f"{NAME}-results").glob("*.json")))
    assert len(files) == 2
    made = pack(run, NAME, out=site / "vireid_models", results=files)
    out, _ = ran("models")
    assert "thermal to visible, direct transfer" in out
    assert "(chance: R-1 25.0, mAP" in out
    assert "| RegDB trial 1, visible to thermal" in (made / "MODEL_CARD.md").read_text()
    ran("evaluate", run, *evaluated)
    foreign = sorted((run / "results").glob("*.json"))
    with pytest.raises(EvaluationError, match="is of the weights"):
        pack(run, NAME, out=tmp_path / "other", results=tuple(foreign))
    # Results of an installed model are found by its name.
    assert "dlis" in ran("leaderboard", NAME)[0]
    assert "R-1" in ran("compare", NAME, run)[0]


def test_two_folders_are_searched_without_a_run(model: Path, ran: Ran) -> None:
    said = f"No run is given: using the installed model '{NAME}' ({load(model).fingerprint})."
    out, err = ran("gallery", "add", "people", "day", "night")
    assert said in err
    assert "detected from the colours: 4 visible and 4 infrared" in out
    out, err = ran("gallery", "search", "people", "night/2.png", "--modality", "visible", "--json")
    assert said in err
    found = json.loads(out)
    assert [Path(hit["path"]).parent.name for hit in found["hits"]] == ["day"] * 4
    assert Path(found["hits"][0]["path"]).name == "2.png"


def test_encode_without_a_run(model: Path, ran: Ran) -> None:
    for words in (("day", "night"), (NAME, "day", "night"), ("day", "night", "--run", NAME)):
        _, err = ran("encode", *words, "--out", "f.parquet")
        assert ("No run is given" in err) == (words == ("day", "night"))
        assert FeatureFile(Path("f.parquet")).rows == 8
        Path("f.parquet").unlink()
    _, err = ran("encode", "nowhere", "day", "--out", "f.parquet", status=2)
    assert "'nowhere' is no run folder and no installed model either; installed models" in err
    _, err = ran("encode", "day", "nowhere", "--out", "f.parquet", status=2)
    assert "run folder" not in err


def test_a_gallery_of_a_model_that_is_not_the_default(
    run: Path, model: Path, tmp_path: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_run(
        tmp_path / "other", palm=False, root=run.parent / "sysu", backbone="mobilenet_v2"
    )
    ran("gallery", "add", "people", "day", "--run", other)
    _, err = ran("gallery", "search", "people", "night/2.png", status=2)
    network = load(other).fingerprint
    assert f"the model of the gallery 'people' ({network}) is not an installed one" in err
    assert "expected its run folder as --run" in err
    assert "'others'" not in err
    installed = install_model(other, tmp_path, monkeypatch, name="others")
    shutil.copytree(model, installed.parent / NAME)
    ran("gallery", "add", "halved", "day", "--run", "others")
    for words in (("add", "halved", "night"), ("search", "halved", "night/2.png")):
        assert "using the installed model 'others'" in ran("gallery", *words)[1]
    # A standardised gallery has another fingerprint, but the same network.
    ran("gallery", "standardise", "halved", "standardised")
    _, err = ran("gallery", "search", "standardised", "night/2.png")
    assert "using the installed model 'others'" in err


def test_commands_without_a_run_say_how_to_install_a_model(
    model: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_models(monkeypatch)
    for words in (
        ("gallery", "add", "people", "day"),
        ("encode", "day", "--out", "f.parquet"),
        ("serve", "people", "--create", "--port", "0"),
    ):
        _, err = ran(*words, status=2)
        assert f"No run is given, and the default model '{NAME}' is not installed" in err
        assert "`pip install ./models`" in err
    for named in (("evaluate", NAME), ("gallery", "add", "people", "day", "--run", NAME)):
        _, err = ran(*named, status=2)
        assert f"'{NAME}' is no run folder: it does not exist" in err
        assert "no model for re-identification is installed; `pip install ./models`" in err


def test_a_gallery_that_does_not_exist_is_named_first(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hide_models(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(photograph(0))
    for words in (("gallery", "search", "nowhere", "a.png"), ("serve", "nowhere", "--port", "0")):
        assert "'nowhere' is not a gallery" in ran(*words, status=2)[1]


def test_a_model_cannot_be_resumed(model: Path, ran: Ran) -> None:
    _, err = ran("train", "--resume", NAME, status=2)
    assert f"`vireid train RECIPE --start {NAME}` trains a new run" in err


def test_serve_takes_the_model_of_the_gallery(
    model: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise GalleryError("stop here")

    ran("gallery", "add", "people", "day")
    monkeypatch.setattr("vireid.app.service.Service.__init__", stop)
    with pytest.raises(GalleryError, match="stop here"):
        serve("people", port=0)
    assert f"using the installed model '{NAME}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "{}", "--layout", "regdb", "--root", "day"),
        ("encode", "day", "--run", "{}", "--out", "f.parquet"),
        ("export", "{}", "--format", "onnx", "--out", "e"),
        ("gallery", "add", "people", "day", "--run", "{}"),
        ("gallery", "search", "people", "night/0.png", "--run", "{}"),
        ("gallery", "calibrate", "people", "--run", "{}", "--layout", "sysu-mm01", "--root", "day"),
        ("serve", "people", "--run", "{}", "--create", "--port", "0"),
        ("compare", "{}", "{}"),
        ("leaderboard", "{}"),
        ("train", "dlis", "--layout", "sysu-mm01", "--root", "day", "--out", "o", "--start", "{}"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_unknown_name_lists_the_installed_ones(
    words: tuple[str, ...], model: Path, run: Path, ran: Ran
) -> None:
    words = tuple(str(run.parent / "sysu") if word == "day" else word for word in words)
    _, err = ran(*(word.format("unknown") for word in words), status=2)
    assert "'unknown' is no run folder: it does not exist; expected a folder written by" in err
    assert f"installed models: '{NAME}' (`vireid models`)" in err
    with pytest.raises(RunError, match="'unknown' is no run folder"):
        vireid.load("unknown")


def test_evaluate_needs_a_data_set(model: Path, ran: Ran) -> None:
    _, err = ran("evaluate", NAME, status=2)
    assert "whose training data is not installed; expected a data set to evaluate it on" in err


def test_a_folder_takes_precedence_over_a_model(
    run: Path, model: Path, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, NAME)
    _, err = ran("gallery", "add", "people", "day", "--run", NAME)
    assert f"'{NAME}' is a folder, which is used instead of the installed model" in err
    with open_gallery("people") as gallery:
        assert gallery.model.fingerprint == load(run).fingerprint != load(model).fingerprint
    # Without a run the default model is meant, whatever folders there are.
    _, err = ran("gallery", "add", "default", "day")
    with open_gallery("default") as gallery:
        assert gallery.model.fingerprint == load(model).fingerprint
    shutil.rmtree(NAME)
    Path(NAME).mkdir()
    with pytest.raises(RunError, match=r"has no config\.yaml"):
        load(NAME)


def test_training_starts_from_a_model_by_name(
    model: Path, run: Path, ran: Ran, tmp_path: Path
) -> None:
    tree = write_sysu(tmp_path / "sysu", images=2)
    words = ["train", "dlis", "--layout", "sysu-mm01", "--root", tree, "--out", "tuned"]
    tiny = ["--backbone", "mobilenet_v2", "--size", "64", "32", "--stripes", "2", "--dim", "8"]
    more = ["--shared-from", "stem", "--epochs", "1", "--identities", "2", "--images", "2"]
    _, err = ran(*words, *tiny, *more, "--start", NAME, "--device", "cpu")
    print_of_model = load(model).fingerprint
    assert f"Starting from '{NAME}' ({print_of_model})" in err
    started = RunFolder(tmp_path / "tuned").read_config().start
    assert started is not None
    assert (str(started.model), started.fingerprint) == (NAME, print_of_model)
    assert load("tuned").about["weights"] == f"run {NAME} ({print_of_model})"
    data = RunFolder(tmp_path / "tuned").read_data()
    assert data.start == RunFolder(model).read_data()
    assert isinstance(data, Provenance)


def test_a_model_of_another_task(site: Path, ran: Ran) -> None:
    about = Description(
        task="detection",
        summary="COCO",
        licence="Apache-2.0",
        size=(416, 416),
        fingerprint="0" * 16,
    )
    write_atomic(site / "vireid_models" / "detector" / "model.json", about.to_json())
    assert set(installed_models()) == {NAME, "detector"}
    assert "detector: COCO\n  detection, input 416x416" in ran("models")[0]
    with pytest.raises(RunError, match="is an installed model for detection; expected one for re-"):
        resolve_model("detector")
    assert default_model() == InstalledModel(
        name=NAME, path=site / "vireid_models" / NAME, about=default_model().about
    )


def test_damaged_models_are_named(site: Path, ran: Ran) -> None:
    weights = site / "vireid_models" / NAME / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    _, err = ran("encode", NAME, "day", "--out", "f.parquet", status=2)
    assert "is damaged" in err
    assert "install vireid-models again" in err
    (weights.parent / "model.json").write_text("{")
    _, err = ran("models", status=2)
    assert "model.json' cannot be read" in err


def test_the_models_of_the_repository_are_as_described(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).parents[2] / "models" / "src"
    monkeypatch.syspath_prepend(source)
    found = installed_models()
    assert all(model.path.is_relative_to(source) for model in found.values())
    assert sum(model.megabytes for model in found.values()) <= MAX_MEGABYTES
    for model in found.values():
        assert (model.path / "MODEL_CARD.md").is_file()
        if model.about.task == "re-identification":
            assert model.about.figures
            assert load(model.path).fingerprint == model.about.fingerprint
            assert not RunFolder(model.path).read_config().data.root.is_absolute()
