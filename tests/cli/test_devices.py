"""`--devices 2` on files on disk: the same run, the same results, and lost processes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from tests.conftest import RECIPE as SMALL_RECIPE
from tests.helpers.trees import write_sysu
from tests.training.test_loop import wait_for

from vireid.cli._images import ImageOptions
from vireid.cli.encode import encode
from vireid.cli.evaluate import evaluate, extract_for
from vireid.cli.train import TrainingProcesses, train_run
from vireid.data.layouts import DataSource
from vireid.distributed.launch import Processes, launch
from vireid.errors import ConfigError
from vireid.evaluation import protocols_for
from vireid.features import load
from vireid.methods import Optimisation
from vireid.runs import Run, RunFolder
from vireid.testing import WALL_CLOCK

RECIPE = replace(
    SMALL_RECIPE,
    method=replace(SMALL_RECIPE.method, triplet=1.0, center_gate=0.0),
    # Small learning rates, so that rounding differences do not grow within these steps.
    optimisation=Optimisation(lr=1e-3, backbone_lr=1e-4, epochs=4, clip=5.0),
)
STEPS_AN_EPOCH = 3


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "sysu"
    # Without one folder, so that the number of test images is odd.
    return write_sysu(root, train=(1, 2, 5, 11), images=1, unseen=[(2, 3)])


@pytest.fixture(scope="module")
def run(tree: Path) -> Run:
    data = DataSource(layout="sysu-mm01", root=tree, hold_out=True)
    # In double, because an untrained network makes its embeddings of differences
    # between images so small that the order of a sum in single precision changes them.
    return Run(
        name="dlis",
        recipe=RECIPE,
        data=data,
        seed=4,
        device="cpu",
        select="validation",
        precision="64-true",
    )


@pytest.fixture(scope="module")
def alone(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run by one process."""
    return train_run(run, tmp_path_factory.mktemp("runs") / "alone")


def start(out: Path) -> subprocess.Popen[bytes]:
    """Resume a run by two processes."""
    command = [sys.executable, "-m", "vireid", "train", "--resume", str(out), "--devices", "2"]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def epochs(out: Path) -> list[dict[str, Any]]:
    """The metrics that do not depend on the clock."""
    lines = RunFolder(out).read_metrics()
    return [{k: v for k, v in line.items() if k not in WALL_CLOCK} for line in lines]


def check_same(out: Path, alone: Path) -> None:
    """Check that a run equals that of one process, up to rounding."""
    for one, other in zip(epochs(alone), epochs(out), strict=True):
        for key in ("epoch", "validation", "accuracy", "lr"):
            assert other[key] == pytest.approx(one[key], abs=1e-9), key
        for key in ("terms", "identity_loss", "cosine_same", "cosine_different"):
            assert other[key] == pytest.approx(one[key], abs=1e-5), key
    weights, trained = (RunFolder(path).read_model()[0] for path in (alone, out))
    assert weights.keys() == trained.keys()
    for name, tensor in weights.items():
        np.testing.assert_allclose(trained[name], tensor, rtol=1e-3, atol=1e-4, err_msg=name)


def test_two_processes_train_what_one_trains(run: Run, alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    RunFolder(out).start(run)
    process = start(out)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error.decode()
    assert "leaked semaphore" not in error.decode()
    assert RunFolder(out).read_config() == run
    assert len(epochs(out)) * STEPS_AN_EPOCH == 12
    check_same(out, alone)
    # Only the main process reports.
    assert error.decode().count("Finished") == 1
    assert error.decode().count("epoch   1/4") == 1


def test_a_lost_process_stops_the_others_and_the_run_can_be_resumed(
    run: Run, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    RunFolder(out).start(run)
    process = start(out)
    wait_for(lambda: any(out.glob("checkpoints/epoch-0001*")), process, 600)
    os.kill(workers(process)[1], signal.SIGKILL)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 2, error.decode()
    said = error.decode()
    assert "vireid: Process 1 of 2 was killed by SIGKILL" in said
    assert f"vireid train --resume {out}" in said
    assert "Traceback" not in said

    process = start(out)
    wait_for(lambda: any(out.glob("checkpoints/epoch-0002*")), process, 600)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, error.decode()
    assert error.decode().count("Stopped; continue with") == 1
    assert not list(out.rglob(".*.tmp"))

    train_run(run, out, resume=True)
    check_same(out, alone)


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    """The workers of a supervising process, by rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = []
    for child in map(int, children):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(child)
    return sorted(found)


def extracted(out: Path, tree: Path, target: Path) -> dict[str, Any]:
    """A network's features and results, in files and in memory."""
    extractor = load(out)
    protocols = protocols_for(RunFolder(out).read_config().data.open())
    values = extract_for(extractor, protocols, batch_size=7).values
    results = evaluate((out,), figures=False, batch_size=7)
    images = (str(tree / "cam3"), str(tree / "cam1"))
    summary = encode(images, run=out, out=target, options=ImageOptions(batch_size=7))
    return {
        "values": values,
        "tables": [str(result) for result in results],
        "rows": summary.rows,
        "guessed": dict(summary.guessed),
    }


def test_two_processes_extract_what_one_extracts(
    alone: Path, tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = extracted(alone, tree, tmp_path / "one.parquet")
    capfd.readouterr()
    two = launch(
        partial(extracted, alone, tree, tmp_path / "two.parquet"),
        processes=Processes(devices=2),
        device="cpu",
        recovery="look",
    )
    # The number of images is odd.
    assert len(one["values"]) % 2
    np.testing.assert_array_equal(two.pop("values"), one.pop("values"))
    assert two == one
    tables = [parquet.read_table(tmp_path / name) for name in ("one.parquet", "two.parquet")]
    assert tables[0].equals(tables[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "two.parquet"]
    # Only the main process reports.
    assert capfd.readouterr().out.count("holds the features of") == 1


def test_processes_must_share_the_batch(run: Run, tmp_path: Path) -> None:
    batch = replace(run.recipe.batch, identities=3)
    odd = replace(run, recipe=replace(run.recipe, batch=batch))
    with pytest.raises(ConfigError, match=r"2 processes cannot share '3' identities.*--devices"):
        train_run(odd, tmp_path / "odd", processes=TrainingProcesses(devices=2))
    assert not (tmp_path / "odd").exists()
