"""No text from outside reaches the terminal as anything but letters."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vireid
from vireid.cli import main
from vireid.log import echo, log, printable

NASTY = "a\x1b[31m\x9b2J\x07\r\b\u202e\u2066\u2028\udce9z"
ESCAPED = r"a\x1b[31m\x9b2J\x07\r\x08\u202e\u2066\u2028\udce9z"


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable(NASTY + "\n\t") == ESCAPED + r"\n\t"
    echo(f"{NASTY}\n\tb")
    log(NASTY)
    printed = capsys.readouterr()
    assert printed.out == f"{ESCAPED}\n\tb\n"
    assert printed.err == f"{ESCAPED}\n"


@pytest.mark.parametrize("text", ["Zoë", "山田　太郎", "می\u200cخواهم", "👩\u200d🚒", "a b"])
def test_letters_of_all_scripts_are_kept(text: str) -> None:
    assert printable(text) == text


def test_errors_are_one_line_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path / "no\x1b[31m\nvireid: done")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vireid: '")
    assert r"no\x1b[31m vireid: done" in line
    report = tmp_path / "x\x1b[2J\nNo faults: 0 errors"
    assert main(["check", "regdb", str(report)]) == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert not any(line.startswith("No faults") for line in printed.splitlines())


def test_commands_print_by_echo() -> None:
    root = Path(vireid.__file__).parent
    printing = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert printing == {"cli/__init__.py", "log.py"}
