from __future__ import annotations

import pytest

from vireid.cli._invocation import command_line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/venv/bin/vireid", "evaluate", "runs/my run"], "vireid evaluate 'runs/my run'"),
        (["/site-packages/vireid/__main__.py", "demo"], "vireid demo"),
        (["/venv/bin/pytest", "tests"], ""),
        ([""], ""),
    ],
)
def test_command_line(words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", words)
    assert command_line() == expected
