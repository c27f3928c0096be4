"""The help texts of all commands and sub-commands, read in one process."""

import contextlib
import io
import re

import pytest

from vireid.cli import COMMANDS, main

MARKUP = re.compile(r":\w+:`|``|\*\*\w")
# Words that a native technical writer would not use here, or that mean something else.
UNCLEAR = re.compile(
    r"\b(nought|mend|mended|beside|told|tells|learnt|whoever|wherever it lies|where it lies|"
    r"lies|by turns|made-up|come again|what becomes? of|no length of time|once more|"
    r"the light|pictures?|guess(ed|es)?|strangers?|mates|verb|forgotten|"
    r"a forward pass|as you call it)\b",
    re.IGNORECASE,
)
# A text that says what a flag does contradicts the flag's negation.
PAIR = re.compile(r"--([a-z-]+), --no-\1\b")


def help_of(*words: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return re.sub(r"[│╭╮╰╯─]+", " ", printed.getvalue())


def one_line(text: str) -> str:
    return " ".join(text.split())


def read_helps() -> dict[tuple[str, ...], str]:
    """The help of `vireid`, of each command, and of each sub-command that they list."""
    waiting: list[tuple[str, ...]] = [(), *((name,) for name in COMMANDS)]
    found: dict[tuple[str, ...], str] = {}
    for words in waiting:
        found[words] = help_of(*words)
        if words:
            # `train --resume RUN` is a sub-command without a name of its own.
            names = set(re.findall(r"• ([\w-]+)", found[words])) - {"resume"}
            waiting += [(*words, name) for name in sorted(names)]
    return found


@pytest.fixture(scope="module")
def helps() -> dict[tuple[str, ...], str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        return read_helps()


def test_every_sub_command_is_read(helps: dict[tuple[str, ...], str]) -> None:
    for words in [("train", "dlis"), ("ablate", "dlis"), ("gallery", "forget")]:
        assert words in helps
    assert len(helps) > len(COMMANDS) + 40


def test_help_begins_with_a_summary(helps: dict[tuple[str, ...], str]) -> None:
    for words, text in helps.items():
        summary = text.split("\n\n")[1].strip().splitlines()[0]
        assert summary[:1].isupper() or summary.startswith(("cmGAN", *"abcdefghijklmnopqrstuvwxyz"))
        assert summary.endswith("."), (words, summary)


def test_help_is_free_of_markup(helps: dict[tuple[str, ...], str]) -> None:
    for words, text in helps.items():
        assert not MARKUP.findall(one_line(text)), words


def test_help_uses_plain_technical_words(helps: dict[tuple[str, ...], str]) -> None:
    for words, text in helps.items():
        assert not {found.group() for found in UNCLEAR.finditer(one_line(text))}, words


def test_a_flag_that_is_on_by_default_is_listed_with_its_negation(
    helps: dict[tuple[str, ...], str],
) -> None:
    pairs = 0
    for words, text in helps.items():
        for option in map(one_line, re.split(r"\n\s+(?=--)", text)[1:]):
            if "(default: True)" in option:
                assert PAIR.match(option), (words, option)
                pairs += 1
            # Without its counterpart, `--no-X` has to say what it leaves out.
            if option.startswith("--no-"):
                assert "Do not" in option, (words, option)
    assert pairs > 50
