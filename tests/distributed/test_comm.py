"""The rank of a process, as a launcher sets it."""

import subprocess
import sys

import pytest
import torch

from vireid.distributed.comm import (
    ProcessInfo,
    all_gather_rows,
    any_rank,
    broadcast,
    is_main_process,
    local_device,
    process_info_from_environment,
    world_size,
)
from vireid.errors import ConfigError

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node7",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "node[7-8]",
    "SLURM_JOB_ID": "1234567",
}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCHRUN, *SLURM):
        monkeypatch.delenv(name, raising=False)


def info_from(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ProcessInfo | None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return process_info_from_environment()


def test_torchrun_and_slurm_set_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ProcessInfo(
        rank=5, world_size=8, local_rank=1, local_size=4, address="node7", port=29500
    )
    assert process_info_from_environment() is None
    with monkeypatch.context() as patch:
        assert info_from(TORCHRUN, patch) == expected
    found = info_from(SLURM, monkeypatch)
    assert found is not None
    assert 15_000 <= found.port < 35_000
    assert info_from({"MASTER_PORT": "29500"}, monkeypatch) == expected


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu03", "gpu03"), ("gpu[03-05,9],login1", "gpu03"), ("a-1,b-2", "a-1"), ("n[12]", "n12")],
)
def test_all_processes_connect_to_the_first_node(
    nodes: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = info_from({**SLURM, "SLURM_STEP_NODELIST": nodes}, monkeypatch)
    assert found is not None
    assert found.address == first


def test_different_numbers_of_processes_on_the_nodes_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match=r"'4,2'.*--ntasks-per-node"):
        info_from({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "4,2"}, monkeypatch)


@pytest.mark.parametrize(
    "given",
    [
        {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"},
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # a batch script that does not use srun
    ],
)
def test_one_process_is_in_no_group(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert info_from(given, monkeypatch) is None


def test_one_process_is_the_main_process() -> None:
    assert world_size() == 1
    assert is_main_process()
    assert broadcast(lambda: {"a": [1, 2.5]}) == {"a": [1, 2.5]}
    assert any_rank(True)
    assert not any_rank(False)
    rows = object()
    assert all_gather_rows(rows, [1]) == [rows]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ("Fabric(**options)", "bfloat16"),
        ("make_fabric(**options); open_fabric(run); TorchBackend(network, **half)", ""),
    ],
)
def test_fabric_reports_nothing_of_bfloat16(calls: str, expected: str) -> None:
    # In its own process: under pytest, which has handlers, Fabric adds none.
    program = f"""
from lightning_fabric import Fabric

from vireid.data.layouts import DataSource
from vireid.distributed.comm import make_fabric
from vireid.features import TorchBackend
from vireid.methods import DLISConfig, Recipe
from vireid.runs import Run
from vireid.training.fabric import open_fabric

method = DLISConfig(backbone="mobilenet_v2", weights="none", size=(64, 32), stripes=2, dim=8)
data = DataSource(layout="sysu-mm01", root=".")
run = Run(name="x", recipe=Recipe(method=method), data=data, precision="bf16-mixed", device="cpu")
network = method.build(classes=2)
half = {{"device": "cpu", "precision": "bf16-mixed"}}
options = {{"accelerator": "cpu", "devices": 1, "precision": "bf16-mixed"}}
{calls}
"""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout == ""
    assert expected in found.stderr
    assert bool(found.stderr) == bool(expected)


def test_the_device_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, auto in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
        assert local_device("cpu") == torch.device("cpu")
        assert local_device("auto").type == auto
    assert local_device("cuda") == torch.device("cuda", 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="'cuda' needs a GPU"):
        local_device("cuda")
