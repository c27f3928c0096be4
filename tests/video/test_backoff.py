"""Waits between attempts, and how seldom failures are logged."""

import pytest

from vireid.video.backoff import Backoff


class Attempts:
    """Attempts by a clock that the test moves."""

    def __init__(self, longest: float = 30.0) -> None:
        self.now = 1_000.0
        self.backoff = Backoff(longest, clock=lambda: self.now)

    def fail(self, reason: str = "'gate' broke off (timeout).") -> float:
        """Fail, and wait."""
        wait = self.backoff.failed(reason)
        self.now += wait
        return wait

    def succeed(self) -> None:
        self.backoff.succeeded("'gate' is read again")


def test_a_camera_that_is_away_for_hours(capsys: pytest.CaptureFixture[str]) -> None:
    attempts = Attempts()
    assert [attempts.fail() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    while attempts.now < 1_000 + 6 * 3_600:
        attempts.fail()
    attempts.succeed()
    first, *others, last = capsys.readouterr().err.splitlines()
    assert first == "'gate' broke off (timeout). It is tried again until it works."
    # After 1, 3, 7, 15, 31, 63 and 123 minutes and so on, at the attempt that follows.
    assert [line.split(" times in ")[1][:5] for line in others] == [
        *("0:01:", "0:03:", "0:07:", "0:15:", "0:31:", "1:03:", "2:03:", "3:03:", "4:03:", "5:03:")
    ]
    assert last == "'gate' is read again after 6:00:02."
    # What works for long and fails again is logged at once.
    attempts.now += 3_601
    assert attempts.fail() == 0.5
    assert "until it works" in capsys.readouterr().err


def test_a_stream_of_a_second_each(capsys: pytest.CaptureFixture[str]) -> None:
    attempts = Attempts()
    for _ in range(7_200):
        assert attempts.fail() == 0.5
        attempts.succeed()
        attempts.now += 0.5
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * 7
    assert lines[1] == "'gate' is read again after 0:00:00."
    assert "It has failed 61 times in 0:01:00." in lines[2]


def test_other_reasons_are_logged_at_once_up_to_some(capsys: pytest.CaptureFixture[str]) -> None:
    attempts = Attempts(longest=0.5)
    for free in range(20):
        attempts.fail(f"Only {free} kB are free.")
        attempts.fail("The disk is full.")
    said = capsys.readouterr().err
    assert said.count("until it works") == 4
    assert said.count("The disk is full. It has failed 2 times in 0:00:00.") == 1
