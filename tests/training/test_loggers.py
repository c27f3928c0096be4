"""Metrics for other tools."""

import importlib.util
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from vireid.errors import ExportError, RunError
from vireid.runs import Run
from vireid.training import fit


@pytest.fixture
def short(run: Run) -> Run:
    optimisation = replace(run.recipe.optimisation, epochs=1)
    return replace(run, recipe=replace(run.recipe, optimisation=optimisation))


def test_both_tools_get_all_metrics_and_nothing_is_uploaded(
    short: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]

    out = tmp_path / "RUN"
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB__SERVICE_WAIT", "300")
        monkeypatch.delenv("WANDB_MODE", raising=False)
        fit(short, out, loggers=("tensorboard", "wandb"), progress_bar=False)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    events = event_accumulator.EventAccumulator(str(out / "tensorboard")).Reload()
    names = events.Tags()["scalars"]
    assert {"loss/identity", "loss/center", "accuracy", "lr"} <= set(names)
    [written] = (out / "wandb").glob("offline-run-*/run-*.wandb")
    for text in (*names, "mobilenet_v2"):
        assert text.encode() in written.read_bytes()
    assert f"`wandb sync {written.parent}`" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_ends_before_a_folder_is_made(
    name: str, short: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == name else find(n))
    with pytest.raises(ExportError, match=rf"--log {name} .*pip install 'vireid\[{name}\]'"):
        fit(short, tmp_path / "RUN", loggers=(name,), progress_bar=False)  # type: ignore[arg-type]
    assert not (tmp_path / "RUN").exists()


def test_a_mode_that_wandb_does_not_know(
    short: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(RunError, match=r"(?s)'sometimes'.*expected 'offline'"):
        fit(short, tmp_path / "RUN", loggers=("wandb",), progress_bar=False)
