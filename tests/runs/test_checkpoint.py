"""Checkpoints under kills, a full disk and damage."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vireid.errors import RunError
from vireid.runs import checkpoint
from vireid.runs.checkpoint import TrainingState


def pair(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).to(
        memory_format=torch.channels_last
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(2, 3, 6, 6)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_round_trip_is_exact(tmp_path: Path) -> None:
    model, optimizer = pair()
    state = TrainingState(
        epoch=3, step=5, sums={"loss": 0.1 + 0.2}, history=[{"epoch": 1, "x": 1e-300}]
    )
    path = checkpoint.write(tmp_path, model, optimizer, state, keep=1)
    other, other_optimizer = pair(1)
    assert checkpoint.load(path, other, other_optimizer) == state
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    ours, theirs = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    for index, moments in ours.items():
        for name, value in moments.items():
            assert torch.equal(value, theirs[index][name])
            if value.ndim == 4:
                assert theirs[index][name].stride() == value.stride()


def test_only_the_last_are_kept(tmp_path: Path) -> None:
    model, optimizer = pair()
    for epoch in range(5):
        checkpoint.write(tmp_path, model, optimizer, TrainingState(epoch=epoch), keep=2)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert [n[:10] for n in names] == ["epoch-0003", "epoch-0004"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "no metadata"])
def test_damage_is_detected_and_the_previous_checkpoint_used(damage: str, tmp_path: Path) -> None:
    model, optimizer = pair()
    good = checkpoint.write(tmp_path, model, optimizer, TrainingState(epoch=1), keep=3)
    bad = checkpoint.write(tmp_path, model, optimizer, TrainingState(epoch=2), keep=3)
    data = bytearray(bad.read_bytes())
    if damage == "flipped":
        data[-20] ^= 4
    kinds = {"truncated": bytes(data[:-50]), "flipped": bytes(data), "empty": b""}
    bad.write_bytes(kinds.get(damage, b"{}" * 9))
    path, warnings = checkpoint.newest(tmp_path)
    assert path == good
    assert len(warnings) == 1
    assert str(bad) in warnings[0]
    good.unlink()
    with pytest.raises(RunError, match=r"No checkpoint in .* is intact"):
        checkpoint.newest(tmp_path)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) == (None, [])


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, *pair(), TrainingState(), keep=1)
    other = nn.Linear(2, 2)
    with pytest.raises(RunError, match="another network"):
        checkpoint.load(path, other, torch.optim.SGD(other.parameters()))


_KILLING = """
import os, signal, sys, time
from pathlib import Path
import torch
from torch import nn
from vireid.runs import checkpoint
from vireid.runs.checkpoint import TrainingState

def save(folder):
    model = nn.Linear(1500, 1500)
    optimizer = torch.optim.SGD(model.parameters())
    for epoch in range(100000):
        nn.init.constant_(model.weight, epoch)
        checkpoint.write(folder, model, optimizer, TrainingState(epoch=epoch), keep=2)

for moment, folder in enumerate(map(Path, sys.argv[1:])):
    # A child process saves endlessly and is killed, each at another point; a temporary file proves
    # that a save is in progress.
    child = os.fork()
    if not child:
        save(folder)
    end, seen = time.monotonic() + 60, 0
    while seen <= moment:
        assert time.monotonic() < end
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        if any(folder.glob("epoch-*")) and any(folder.glob(".*.tmp")):
            seen += 1
        time.sleep(0.001)  # leaves the child the core
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of processes that were killed while they saved checkpoints."""
    folders = [tmp_path_factory.mktemp("killed") for _ in range(4)]
    subprocess.run([sys.executable, "-c", _KILLING, *folders], check=True)
    return folders


@pytest.mark.parametrize("moment", range(4))
def test_killed_while_saving(moment: int, killed: list[Path]) -> None:
    path, warnings = checkpoint.newest(killed[moment])
    assert warnings == []
    assert path is not None
    model = nn.Linear(1500, 1500)
    state = checkpoint.load(path, model, torch.optim.SGD(model.parameters()))
    assert (model.weight == state.epoch).all()


_FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from torch import nn
from vireid.errors import RunError
from vireid.runs import checkpoint
from vireid.runs.checkpoint import TrainingState
small, large = nn.Linear(2, 2), nn.Linear(400, 400)
folder = Path(sys.argv[1])
checkpoint.write(folder, small, torch.optim.SGD(small.parameters()), TrainingState(epoch=1), keep=2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    optimizer = torch.optim.SGD(large.parameters())
    checkpoint.write(folder, large, optimizer, TrainingState(epoch=2), keep=2)
except RunError as error:
    print(error)
"""


def test_a_full_disk(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "could not be written" in done.stdout
    assert [p.name[:10] for p in tmp_path.iterdir()] == ["epoch-0001"]
    path, warnings = checkpoint.newest(tmp_path)
    assert path is not None
    assert warnings == []


def test_a_read_only_folder(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(RunError, match="could not be written"):
        checkpoint.write(blocked / "checkpoints", *pair(), TrainingState(), keep=1)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
