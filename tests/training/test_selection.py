"""Which epoch becomes the model: the last, or the best on identities held out of training."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vireid
from vireid.cli.train import OutputOptions, train_run
from vireid.data.layouts import SysuMM01
from vireid.errors import ConfigError, RunError
from vireid.evaluation import evaluate, validation
from vireid.methods import Method
from vireid.nn.weights import fingerprint
from vireid.runs import Run, RunFolder
from vireid.training import fit


@pytest.fixture(scope="module")
def selecting(run: Run) -> Run:
    batch = replace(run.recipe.batch, identities=3)
    return replace(
        run,
        recipe=replace(run.recipe, batch=batch),
        data=replace(run.data, hold_out=True),
        select="validation",
    )


class Scripted:
    """Returns given scores, and records the network of each epoch."""

    def __init__(self, *scores: float) -> None:
        self._scores: Iterator[float] = iter(scores)
        self.seen: list[str] = []

    def __call__(self, network: Method) -> dict[str, float]:
        state = {k: v.detach().clone().contiguous() for k, v in network.state_dict().items()}
        self.seen.append(fingerprint(state))
        return {"R-1": 0.0, "mAP": next(self._scores)}


@pytest.mark.parametrize(
    ("scores", "best"), [((0.1, 0.5, 0.3), 1), ((0.4, 0.4, 0.4), 0), ((0.1, 0.2, 0.3), 2)]
)
def test_the_best_epoch_becomes_the_model(
    selecting: Run, tmp_path: Path, scores: tuple[float, ...], best: int
) -> None:
    judge = Scripted(*scores)
    out = fit(selecting, tmp_path / "run", progress_bar=False, validate=judge)
    _, _, name = RunFolder(out).read_model()
    assert name == judge.seen[best]
    assert len(set(judge.seen)) == 3
    lines = RunFolder(out).read_metrics()
    assert [line["validation"]["mAP"] for line in lines] == list(scores)
    assert vireid.load(out).about["model"] == "best epoch on validation identities"


def test_validation_without_selection(selecting: Run, tmp_path: Path) -> None:
    judge = Scripted(0.9, 0.5, 0.1)
    last = replace(selecting, select="last")
    out = fit(last, tmp_path / "run", progress_bar=False, validate=judge)
    assert RunFolder(out).read_model()[2] == judge.seen[2]
    assert RunFolder(out).read_metrics()[0]["validation"]["mAP"] == 0.9
    assert not RunFolder(out).best_file.exists()


def test_an_interrupted_run_keeps_its_best_network(selecting: Run, tmp_path: Path) -> None:
    judge = Scripted(0.9, 0.5, 0.1)
    whole = fit(selecting, tmp_path / "whole", progress_bar=False, validate=judge)

    class KilledError(Exception):
        pass

    def dying(network: Method) -> dict[str, float]:
        if first.seen:
            raise KilledError
        return first(network)

    first = Scripted(0.9)
    out = tmp_path / "killed"
    with pytest.raises(KilledError):
        fit(selecting, out, progress_bar=False, validate=dying)
    fit(selecting, out, resume=True, progress_bar=False, validate=Scripted(0.5, 0.1))
    assert RunFolder(out).read_model()[2] == RunFolder(whole).read_model()[2] == first.seen[0]

    RunFolder(out).best_file.unlink()
    with pytest.raises(RunError, match=r"no best\.safetensors"):
        fit(selecting, out, resume=True, progress_bar=False, validate=Scripted())


def test_selection_needs_identities_and_validate(run: Run, selecting: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--hold-out"):
        replace(run, select="validation")
    with pytest.raises(ConfigError, match="needs the argument validate="):
        fit(selecting, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_validates_on_the_held_out_identities(
    selecting: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = train_run(selecting, tmp_path / "run", output=OutputOptions(cache=tmp_path / "cache"))
    lines = RunFolder(out).read_metrics()
    assert all(set(line["validation"]) == {"R-1", "mAP"} for line in lines)
    protocol = validation(SysuMM01(selecting.data.root, hold_out=True))
    extractor = vireid.load(out)
    result = evaluate(extractor.extract(protocol.records, progress=False), protocol)
    best = max(line["validation"]["mAP"] for line in lines)
    assert result.mean_ap.mean == pytest.approx(best, abs=1e-9)
    assert f"by validation mAP {100 * best:.2f}" in capfd.readouterr().err
    # Validation does not change the training.
    blind = fit(
        replace(selecting, select="last"),
        tmp_path / "blind",
        progress_bar=False,
        validate=lambda _: {"mAP": 0.0},
    )
    judged = train_run(replace(selecting, select="last"), tmp_path / "judged")
    one, other = (RunFolder(folder).read_model()[0] for folder in (blind, judged))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
