"""Training that starts from the trained network of another run."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vireid.cli import main
from vireid.errors import ConfigError, RunError, VireidError
from vireid.features import load
from vireid.methods import catalogue
from vireid.nn.weights import read_weights
from vireid.runs import Run, RunFolder, start_from
from vireid.runs.start import head_names, load_start
from vireid.testing import same_run
from vireid.training import fit

HEADS = {"heads.classifier_weight", "heads.classifier_bias"}


@pytest.fixture(scope="module")
def source(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a finished run, which a test may change."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("runs") / "base")


def _with_epochs(run: Run, epochs: int) -> Run:
    optimisation = replace(run.recipe.optimisation, epochs=epochs)
    return replace(run, recipe=replace(run.recipe, optimisation=optimisation))


def _with_method(run: Run, **options: Any) -> Run:
    method = replace(run.recipe.method, **options)
    return replace(run, recipe=replace(run.recipe, method=method))


@pytest.mark.parametrize("classes", [5, 7])
def test_everything_but_the_classifiers_is_loaded(
    classes: int, source: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = RunFolder(source).read_model()[0]
    torch.manual_seed(0)
    network = run.recipe.method.build(classes=classes)
    initial = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    started = start_from(run, source)
    load_start(network, started)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, (initial if name in HEADS else trained)[name]), name
    said = capsys.readouterr().err
    assert all(f"'{name}'" in said for name in HEADS)
    assert "learning rate 0.0001" in said
    assert "differ" not in said


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_method_has_classifiers_that_are_made_anew(name: str) -> None:
    with torch.device("meta"):
        method = replace(catalogue()[name].recipe.method, weights="none")
        networks = [method.build(classes=classes) for classes in (11, 13)]
    shapes = [{k: v.shape for k, v in network.state_dict().items()} for network in networks]
    heads = head_names(method)
    assert heads
    assert set(heads) == {k for k in shapes[0] if shapes[0][k] != shapes[1][k]}
    assert all(11 in shapes[0][k] for k in heads)


def test_a_run_that_starts_from_another_is_resumed_without_it(
    source: Path, run: Run, tmp_path: Path
) -> None:
    base = shutil.copytree(source, tmp_path / "base")
    started = start_from(_with_epochs(run, 2), base)
    out = fit(started, tmp_path / "out", keep=9, progress_bar=False)
    assert RunFolder(out).read_config() == started
    assert started.start is not None
    assert started.start.model == base
    assert RunFolder(out).read_data().start == RunFolder(base).read_data()
    fingerprint = RunFolder(base).read_model()[2]
    assert load(out).about["weights"] == f"run base ({fingerprint})"
    again = shutil.copytree(out, tmp_path / "again")
    (again / "model.safetensors").unlink()
    for later in sorted((again / "checkpoints").iterdir())[1:]:
        later.unlink()
    shutil.rmtree(base)
    fit(started, again, resume=True, progress_bar=False)
    assert same_run(again, out)
    with pytest.raises(RunError, match=r"base' is no run folder"):
        fit(started, tmp_path / "third", progress_bar=False)
    assert not (tmp_path / "third").exists()


def test_another_network_is_refused_with_the_options_that_differ(source: Path, run: Run) -> None:
    started = start_from(_with_method(run, dim=16), source)
    with pytest.raises(RunError, match=r"of another shape .* dim 8 there, 16 here") as caught:
        load_start(started.recipe.method.build(classes=5), started)
    assert len(str(caught.value)) < 500


def test_options_that_change_no_tensor_are_named(
    source: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    started = start_from(_with_method(run, triplet=1.0), source)
    load_start(started.recipe.method.build(classes=5), started)
    assert "differ from that run's: triplet 0 there, 1 here." in capsys.readouterr().err


def test_a_model_that_changed_since_is_refused(source: Path, run: Run) -> None:
    started = start_from(run, source)
    assert started.start is not None
    other = replace(started, start=replace(started.start, fingerprint="0" * 16))
    with pytest.raises(RunError, match=r"expected '0{16}'"):
        load_start(run.recipe.method.build(classes=5), other)


@pytest.mark.parametrize("model", ["none", "weights.pth"])
def test_no_run_folder(model: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"{model}' is no run folder"):
        start_from(run, tmp_path / model)


def test_an_unfinished_run_is_refused(run: Run, tmp_path: Path) -> None:
    RunFolder(tmp_path).start(run)
    with pytest.raises(RunError, match="is not finished"):
        start_from(run, tmp_path)


def test_weights_and_a_start_exclude_each_other(source: Path, run: Run) -> None:
    with pytest.raises(ConfigError, match="leave out --weights or --start"):
        start_from(_with_method(run, weights=Path("w.pth")), source)


@pytest.mark.parametrize("given", ["model.safetensors", "checkpoints", ""])
def test_a_run_given_as_weights_is_named(given: str, source: Path) -> None:
    path = source / given
    if given == "checkpoints":
        path = next(path.iterdir())
    with pytest.raises(VireidError, match=rf"`vireid train RECIPE --start {source}`"):
        read_weights(path)


@pytest.mark.parametrize("factor", [None, "0.5"])
def test_the_command(
    factor: str | None,
    source: Path,
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("vireid.cli.train.train_run", lambda run, *_, **__: seen.append(run))
    rest = ["--backbone-factor", factor] if factor else []
    words = ["train", "dlis", "--layout", "sysu-mm01", "--root", str(tree), "--out", str(tmp_path)]
    # Its model.safetensors is taken too.
    assert main([*words, "--start", str(source / "model.safetensors"), *rest]) == 0
    [run] = seen
    assert run.start.model == source
    assert run.recipe.method.weights == "none"
    assert run.recipe.optimisation.backbone_lr == pytest.approx(1e-3 * float(factor or 0.1))


def test_a_factor_without_a_start_is_refused(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "dlis", "--layout", "sysu-mm01", "--root", str(tree), "--out", str(tmp_path)]
    assert main([*words, "--backbone-factor", "0.5"]) == 2
    assert "'--backbone-factor 0.5' has no effect without --start" in capsys.readouterr().err
