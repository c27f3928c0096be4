"""Which process this is, by what a launcher says."""

import pytest

from vireid.errors import ConfigError
from vireid.processes import Place, any_of, exchange, is_first, place_from_environment, share, size

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


def place(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Place | None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return place_from_environment()


def test_torchrun_and_slurm_say_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Place(rank=5, size=8, local_rank=1, local_size=4, address="node7", port=29500)
    assert place_from_environment() is None
    with monkeypatch.context() as patch:
        assert place(TORCHRUN, patch) == expected
    found = place(SLURM, monkeypatch)
    assert found is not None
    assert 15_000 <= found.port < 35_000
    assert place({"MASTER_PORT": "29500"}, monkeypatch) == expected


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu03", "gpu03"), ("gpu[03-05,9],login1", "gpu03"), ("a-1,b-2", "a-1"), ("n[12]", "n12")],
)
def test_the_first_node_is_where_all_meet(
    nodes: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = place({**SLURM, "SLURM_STEP_NODELIST": nodes}, monkeypatch)
    assert found is not None
    assert found.address == first


def test_unlike_numbers_of_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"'4,2'.*--ntasks-per-node"):
        place({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "4,2"}, monkeypatch)


@pytest.mark.parametrize(
    "given",
    [
        {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"},
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # a batch script that does not use srun
    ],
)
def test_one_process_is_in_no_group(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(given, monkeypatch) is None


def test_the_only_process_is_the_first_and_hears_itself() -> None:
    assert size() == 1
    assert is_first()
    assert share(lambda: {"a": [1, 2.5]}) == {"a": [1, 2.5]}
    assert any_of(True)
    assert not any_of(False)
    rows = object()
    assert exchange(rows, [1]) == [rows]  # type: ignore[arg-type]
