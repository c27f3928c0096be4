"""The time left is that of the whole training, estimated from this process's steps."""

import pytest

from vireid.runs.checkpoint import TrainingState
from vireid.training.progress import TrainingBar


def test_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("vireid.training.progress.time.perf_counter", lambda: now)
    # Resumed in the second of three epochs, after 5 of 12 steps.
    state = TrainingState(epoch=1, step=1, sums={"terms.identity": 1.0})
    bar = TrainingBar(3, 4, state, show=False)
    assert bar.time_left == ""
    for left in (60, 50, 40, 30, 20, 10):
        now += 10
        bar.update(state.means, 16)
        assert bar.time_left == f", 0{left // 60}:{left % 60:02d} left"
    assert bar.rate == pytest.approx(1.6)
    bar.start_epoch()
    assert bar.seconds == 0
    now += 10
    bar.update(state.means, 16)
    assert bar.time_left == ""
    bar.close()
