"""Training survives kills and signals, and a resumed run equals an uninterrupted one."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from tests.helpers.signals import tell_this_process_to_stop

from vireid.errors import RunError, TrainingError
from vireid.losses import hetero_center_loss
from vireid.methods import Optimisation
from vireid.runs import Run, RunFolder, checkpoint
from vireid.testing import metrics, same_run
from vireid.training import fit
from vireid.training.batches import TrainingSet
from vireid.training.optimization import rate_factor

STOP_AT = 3


def steps_an_epoch(run: Run) -> int:
    with TrainingSet(run) as data:
        return data.steps


def start(run: Run, out: Path) -> subprocess.Popen[bytes]:
    """Start a run in its own process by resuming an empty one."""
    RunFolder(out).start(run)
    command = [sys.executable, "-m", "vireid", "train", "--resume", str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120
) -> None:
    """Wait until a condition holds; fail if the process ends or time runs out."""
    end = time.monotonic() + seconds
    while not condition():
        # Waiting leaves the process the core that polling would occupy.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            pytest.fail(f"it ended before it could be disturbed: {process.communicate()}")
        assert time.monotonic() < end, "nothing happened"


def test_the_contents_of_a_run_folder(finished: Path, run: Run) -> None:
    assert RunFolder(finished).read_config() == run
    lines = metrics(finished)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert set(lines[0]["terms"]) == {"identity", "center"}
    state, classes, name = RunFolder(finished).read_model()
    assert classes == 5
    assert name in (finished / "model.safetensors").read_bytes()[:500].decode(errors="replace")
    assert any(key.startswith("streams.") for key in state)
    assert len(list((finished / "checkpoints").iterdir())) == 2


def test_the_same_seed_gives_the_same_bits(finished: Path, run: Run, tmp_path: Path) -> None:
    again = fit(run, tmp_path / "again", progress_bar=False)
    assert same_run(again, finished)
    other = fit(replace(run, seed=5), tmp_path / "other", progress_bar=False)
    assert not same_run(other, finished)


def test_killed_while_training(finished_longer: Path, longer: Run, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = start(longer, out)
    wait_for(lambda: any(out.glob("checkpoints/epoch-0002*")), process)
    process.kill()
    process.communicate()
    assert not (out / "model.safetensors").exists()
    with pytest.raises(RunError, match="not finished"):
        RunFolder(out).read_model()
    fit(longer, out, resume=True, progress_bar=False)
    assert same_run(out, finished_longer)
    assert not list(out.rglob(".*.tmp"))


def test_killed_before_the_first_checkpoint(finished: Path, run: Run, tmp_path: Path) -> None:
    RunFolder(tmp_path / "early").start(run)
    fit(run, tmp_path / "early", resume=True, progress_bar=False)
    assert same_run(tmp_path / "early", finished)


def test_a_second_training_into_a_folder_is_refused(run: Run, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(run)
    with (
        folder.exclusive(),
        pytest.raises(RunError, match=r"Another process is training into '.*run'; wait"),
    ):
        fit(run, folder.path, resume=True, progress_bar=False)
    assert [path.name for path in folder.path.iterdir()] == ["config.yaml"]
    with folder.exclusive():  # the refused process holds no lock
        pass


def test_sigterm_saves_and_exits(finished_longer: Path, longer: Run, tmp_path: Path) -> None:
    out = tmp_path / "terminated"
    process = start(longer, out)
    wait_for(lambda: any(out.glob("checkpoints/epoch-0002*")), process)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, error.decode()
    assert b"vireid train --resume" in error
    fit(longer, out, resume=True, progress_bar=False)
    assert same_run(out, finished_longer)


def test_stopped_in_the_middle_of_an_epoch(
    finished: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def count(*args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == STOP_AT:
            tell_this_process_to_stop()
        return hetero_center_loss(*args, **kwargs)

    monkeypatch.setattr("vireid.methods.dlis.hetero_center_loss", count)
    out = tmp_path / "middle"
    with pytest.raises(SystemExit) as left:
        fit(run, out, progress_bar=False)
    assert left.value.code == 143
    assert steps == STOP_AT
    path, _ = checkpoint.newest(out / "checkpoints")
    assert path is not None
    assert "step-000000" not in path.name
    fit(run, out, resume=True, progress_bar=False)
    assert same_run(out, finished)


def test_sigterm_in_the_last_step_exits_with_the_run_finished(
    finished: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = len(metrics(finished)) * steps_an_epoch(run)
    left = iter(range(steps - 1, -1, -1))

    def count(*args: Any, **kwargs: Any) -> torch.Tensor:
        if next(left) == 0:
            tell_this_process_to_stop()
        return hetero_center_loss(*args, **kwargs)

    monkeypatch.setattr("vireid.methods.dlis.hetero_center_loss", count)
    with pytest.raises(SystemExit) as exited:
        fit(run, tmp_path / "last", progress_bar=False)
    assert exited.value.code == 143
    assert same_run(tmp_path / "last", finished)


def test_a_damaged_checkpoint_is_skipped(
    finished: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "damaged"
    with_stop = replace(
        run, recipe=replace(run.recipe, optimisation=Optimisation(**_fields(run), epochs=2))
    )
    fit(with_stop, out, progress_bar=False)
    # The same first two epochs: the step schedule does not depend on the number of epochs.
    (out / "model.safetensors").unlink()
    RunFolder(out).start(run)
    newest = max((out / "checkpoints").iterdir())
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    fit(run, out, resume=True, progress_bar=False)
    said = capsys.readouterr().err
    assert f"'{newest}' is damaged" in said
    [second, last] = [
        line for line in said.splitlines() if line.startswith(("epoch   2/3", "epoch   3/3"))
    ]
    assert second.endswith(" left")
    assert last.endswith(" images/s")
    assert same_run(out, finished)


def _fields(run: Run) -> dict[str, Any]:
    options = vars(run.recipe.optimisation)
    return {k: v for k, v in options.items() if k != "epochs"}


def test_a_loss_that_is_not_finite_names_the_batch(run: Run, tmp_path: Path) -> None:
    broken = replace(
        run,
        recipe=replace(
            run.recipe,
            optimisation=Optimisation(optimizer="sgd", lr=1e18, backbone_lr=1e18, epochs=3),
        ),
    )
    with pytest.raises(TrainingError) as caught:
        fit(broken, tmp_path / "nan", progress_bar=False)
    text = str(caught.value)
    assert "epoch 1, step" in text
    assert "holds 16 images" in text
    assert str(run.data.root) in text
    assert "--lr" in text


def test_a_folder_in_use_is_not_overwritten(finished: Path, run: Run) -> None:
    before = (finished / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(RunError, match=r"not empty.*--resume"):
        fit(run, finished)
    with pytest.raises(RunError, match="other options"):
        fit(replace(run, seed=9), finished, resume=True)
    assert (finished / "model.safetensors").stat().st_mtime_ns == before


def test_resuming_a_finished_run_changes_nothing(finished: Path, run: Run) -> None:
    before = (finished / "model.safetensors").read_bytes()
    fit(run, finished, resume=True, progress_bar=False)
    assert (finished / "model.safetensors").read_bytes() == before


def test_a_failure_before_training_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    weights = replace(run.recipe.method, weights=tmp_path / "none.pth")
    with pytest.raises(Exception, match=r"none\.pth"):
        fit(replace(run, recipe=replace(run.recipe, method=weights)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_resuming_does_not_need_the_weights_it_started_from(run: Run, tmp_path: Path) -> None:
    weights = tmp_path / "start.pth"
    torch.save(torchvision.models.mobilenet_v2().state_dict(), weights)
    begun = replace(
        run, recipe=replace(run.recipe, method=replace(run.recipe.method, weights=weights))
    )
    out = fit(begun, tmp_path / "out", progress_bar=False)
    before = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").unlink()
    weights.unlink()
    fit(begun, out, resume=True, progress_bar=False)
    assert (out / "model.safetensors").read_bytes() == before


def test_bfloat16(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(run, precision="bf16-mixed")
    halves: list[torch.dtype] = []
    forward = torch.nn.Conv2d.forward

    def seen(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        halves.append((y := forward(self, x)).dtype)
        return y

    monkeypatch.setattr(torch.nn.Conv2d, "forward", seen)
    fit(short, tmp_path / "b", progress_bar=False)
    assert set(halves) == {torch.bfloat16}
    for line in metrics(tmp_path / "b"):
        assert json.dumps(line)
        assert line["identity_loss"] > 0


def test_schedules() -> None:
    step = Optimisation(milestones=(30,), warmup=10)
    assert [rate_factor(step, e) for e in (0, 5, 10, 29.9, 30, 59)] == pytest.approx(
        [0.1, 0.55, 1, 1, 0.1, 0.1]
    )
    cosine = Optimisation(schedule="cosine", epochs=20)
    assert [rate_factor(cosine, e) for e in (0, 10, 20)] == pytest.approx([1, 0.505, 0.01])
