"""Tokens: read from a file or the environment, told apart, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireid.app.tokens import VARIABLE, Tokens
from vireid.errors import ConfigError

ADA, BOB = "x9" * 16, "q7" * 16


def test_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# who may come in\nada {ADA}\n\n  bob   {BOB}  \n")
    file.chmod(0o600)
    tokens = Tokens.read(file, {VARIABLE: "never looked at"})
    assert (tokens.user_of(ADA), tokens.user_of(BOB), tokens.user_of(ADA + " ")) == (
        "ada",
        "bob",
        None,
    )
    assert capsys.readouterr().err == ""
    file.chmod(0o644)
    Tokens.read(file, {})
    assert "chmod 600" in capsys.readouterr().err


def test_from_the_environment() -> None:
    tokens = Tokens.read(None, {VARIABLE: f"ada {ADA}, bob {BOB}"})
    assert (tokens.user_of(ADA), tokens.user_of(BOB)) == ("ada", "bob")
    assert not Tokens.read(None, {})
    assert Tokens({}).user_of("") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no token"),
        ("# ada " + ADA, "holds no token"),
        (ADA, "has 1 word in token 1"),
        (f"ada {ADA} {BOB}", "has 3 words in token 1"),
        (f"ada {ADA}\nada {BOB}", "names 'ada' twice"),
        (f"ada {ADA}\nbob {ADA}", "have the same token"),
        ("ada hunter2", "has 7 characters; expected at least 20"),
        (f"a/da {ADA}", "the token named 'a/da' is malformed"),
        (f"ada {ADA}é", "the token named 'ada' is malformed"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=said) as caught:
        Tokens.read(file, {})
    assert ADA not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Tokens.read(tmp_path / "none", {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        Tokens.read(tmp_path / "binary", {})


@given(st.text())
def test_only_the_token_itself_opens(presented: str) -> None:
    tokens = Tokens({"ada": ADA, "bob": BOB})
    assert tokens.user_of(presented) == {ADA: "ada", BOB: "bob"}.get(presented)
