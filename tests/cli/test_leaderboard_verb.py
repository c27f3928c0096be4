"""``vireid leaderboard`` on runs that were really trained and evaluated, and its page."""

from __future__ import annotations

import shutil
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from tests.helpers.trees import write_regdb
from tests.reports import test_report
from tests.reports.test_report import NASTY, Tags

from vireid.cli import main
from vireid.cli.leaderboard import leaderboard, read_entries
from vireid.errors import ConfigError, EvaluationError
from vireid.evaluation import Result
from vireid.reports.leaderboard import SYNTHETIC, Board, Entry
from vireid.reports.leaderboard import leaderboard as boards_of
from vireid.reports.leaderboard_page import write_leaderboard
from vireid.runs import RunFolder

if TYPE_CHECKING:
    from playwright.sync_api import Browser

browser = test_report.browser
TINY = [
    *("--backbone", "mobilenet_v2", "--weights", "none", "--size", "64", "32", "--epochs", "1"),
    *("--identities", "2", "--images", "2", "--device", "cpu", "--layout", "regdb"),
]
SMALL = ["dlis", "--shared-from", "layer2", "--stripes", "2", "--dim", "8"]
RUNS = {"dlis-0": SMALL, "dlis-1": [*SMALL, "--seed", "1"], "off": [*SMALL, "--palm", "off"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("leaderboard")
    root = write_regdb(folder / "RegDB")
    for name, words in RUNS.items():
        assert main(["train", *words, *TINY, "--root", str(root), "--out", str(folder / name)]) == 0
    found = [folder / name for name in RUNS]
    assert main(["evaluate", *map(str, found), "--no-figures"]) == 0
    return found


def copied(runs: list[Path], into: Path) -> list[Path]:
    """The runs without their networks, which are large and which no leaderboard reads."""
    without = shutil.ignore_patterns("checkpoints", "*.safetensors")
    return [Path(shutil.copytree(run, into / run.name, ignore=without)) for run in runs]


def test_runs_side_by_side(
    trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "board"
    assert main(["leaderboard", *map(str, trained), "--sort", "R-1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "leaderboard.md").read_text(encoding="utf-8")
    assert {path.name for path in out.iterdir()} == {"leaderboard.md", "leaderboard.html"}
    for direction in ("visible to thermal", "thermal to visible"):
        assert f"## RegDB trial 1, {direction}" in printed
    for words in (
        "| dlis ",
        "| dlis, palm=off ",
        "| 2 (0, 1) |",
        "| chance ",
        "dlis deviates from its recipe: shared-from=layer2, stripes=2, dim=8.",
        "All rows: weights none, epochs 1, batch 2 x (2 + 2)",
    ):
        assert printed.count(words) == 2

    boards = leaderboard(tuple(trained))
    assert [len(board.rows) for board in boards] == [2, 2]
    pooled = next(row for row in boards[0].rows if row.name == "dlis")
    (direction,) = {e.result.direction for e in pooled.entries}
    files = [run / "results" for run in trained[:2]]
    results = [Result.load(f) for d in files for f in d.glob(f"*{direction.replace(' ', '-')}*")]
    first, second = (result.mean_ap.mean for result in results)
    assert pooled.score("mAP").mean == pytest.approx((first + second) / 2, abs=1e-12)
    assert pooled.score("mAP").std == pytest.approx(abs(first - second) / 2**0.5, abs=1e-12)
    seconds = [line["seconds"] for run in trained[:2] for line in RunFolder(run).read_metrics()]
    assert pooled.minutes == pytest.approx(sum(seconds) / 2 / 60)


def test_folders_and_files_are_read_once(trained: list[Path], tmp_path: Path) -> None:
    folder = trained[0]
    (file,) = (folder / "results").glob("*visible-to-thermal*.json")
    assert read_entries([folder, file, folder]) == read_entries([folder])
    (alone,) = read_entries([file])
    assert alone.source == folder
    assert alone.run == RunFolder(folder).read_config()
    lone = Path(shutil.copy(file, tmp_path / "mine.json"))
    assert read_entries([lone]) == [Entry(Result.load(file), lone)]


def test_the_same_training_twice_stays_apart(trained: list[Path], tmp_path: Path) -> None:
    (again,) = copied(trained[:1], tmp_path)
    for board in leaderboard((*trained[:2], again)):
        assert {row.name for row in board.rows} == {
            f"dlis ['{run}']" for run in (*trained[:2], again)
        }


def test_other_treatments_stand_in_tables_of_their_own(trained: list[Path], tmp_path: Path) -> None:
    (run,) = copied(trained[:1], tmp_path)
    for file in list((run / "results").glob("*.json")):
        treated = replace(
            Result.load(file), reranking="k-reciprocal", test_time_augmentation="horizontal flip"
        )
        treated.save(run / "results" / f"{treated.slug}.json")
    boards = leaderboard((run, trained[1]))
    assert sorted(len(board.rows[0].entries) for board in boards) == [1, 1, 2, 2]
    assert sum("(with re-ranking, test-time" in board.title for board in boards) == 2


def test_runs_without_results_are_named(
    trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = copied(trained[:2], tmp_path)
    shutil.rmtree(first / "results")
    assert main(["leaderboard", str(first), str(trained[2]), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert f"'{first}' has no results; expected" in error
    assert f"run `vireid evaluate {first}` first" in error
    shutil.rmtree(second / "results")
    with pytest.raises(EvaluationError, match="nor does 1 other run") as caught:
        leaderboard((first, second))
    assert f"`vireid evaluate {first} {second}`" in str(caught.value)
    assert main(["leaderboard", str(tmp_path / "nowhere")]) == 2
    assert "nowhere' is no run folder" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="got no run"):
        leaderboard(())
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("damage", [b"", b'{"format": 3', b"\xff\xfe", b"[]", b'{"format": 1}'])
def test_a_damaged_result_is_named(trained: list[Path], tmp_path: Path, damage: bytes) -> None:
    (run,) = copied(trained[:1], tmp_path)
    file = min((run / "results").glob("*.json"))
    file.write_bytes(damage)
    with pytest.raises(EvaluationError) as caught:
        leaderboard((run,), out=tmp_path / "out")
    assert str(file) in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["{", "[1]\n", '{"epoch": 1}\n', '{"seconds": null}\n'])
def test_damaged_metrics_are_named(trained: list[Path], tmp_path: Path, damage: str) -> None:
    (run,) = copied(trained[:1], tmp_path)
    file = RunFolder(run).metrics_file
    file.write_text(damage)
    with pytest.raises(EvaluationError, match="delete the file to omit") as caught:
        leaderboard((run,))
    assert str(file) in str(caught.value)
    file.unlink()
    assert all(row.minutes is None for board in leaderboard((run,)) for row in board.rows)


@pytest.fixture(scope="module")
def boards(trained: list[Path]) -> list[Board]:
    """Four tables, with names of the worst kind, a synthetic protocol and rows at chance."""
    entries = [
        entry._replace(result=replace(entry.result, protocol=f"{before}RegDB trial 1"))
        for entry in read_entries(trained)
        for before in ("", "SynVI as ")
    ]
    result = next(e.result for e in entries if e.result.protocol.startswith("SynVI"))
    collapsed = tuple(replace(trial, mean_ap=0.0) for trial in result.trials)
    nasty = replace(result, about={"recipe": NASTY, "backbone": NASTY}, trials=collapsed)
    return boards_of([*entries, Entry(nasty, Path(f"{NASTY}.json"))])


@pytest.fixture(scope="module")
def page(boards: list[Board], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leaderboard(tmp_path_factory.mktemp("page") / "new" / "b.html", boards)


def test_the_page_says_what_the_markdown_says(boards: list[Board], page: Path) -> None:
    tags = Tags()
    text = page.read_text(encoding="utf-8")
    tags.feed(text)
    assert not tags.open
    names = [tag for tag, _ in tags.tags]
    assert not set(names) & {"script", "iframe", "object", "embed", "base", "form", "img"}
    assert names.count("table") == len(boards) == 4
    for board in boards:
        for part in (board.title, *board.conditions, *board.notes):
            assert part in tags.text
        for row, line in zip(board.rows, board.table()[1:], strict=False):
            shown = [f'<th scope="row">{escape(line[0])}</th>']
            for cell in line[1:]:
                mean, *deviation = escape(cell).split(" ± ")
                small = f" <small>± {deviation[0]}</small>" if deviation else ""
                shown.append(f"<td>{mean}{small}</td>")
            kind = "low" if any(entry.result.at_chance for entry in row.entries) else ""
            assert f'<tr class="{kind}">{"".join(shown)}</tr>' in text
    assert " <small>± " in text
    assert 'class="low"' in text
    assert text.count(escape(SYNTHETIC)) == 2
    assert NASTY in tags.text


@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_real_browser(browser: Browser, page: Path, width: int) -> None:
    papers = {_visit(browser, page, width, scheme) for scheme in ("light", "dark")}
    assert len(papers) == 2


def _visit(browser: Browser, page: Path, width: int, scheme: Literal["light", "dark"]) -> str:
    """Open the page, hold it against what it promises, and give back its background."""
    with browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme
    ) as context:
        tab = context.new_page()
        messages: list[str] = []
        requests: list[str] = []
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page.as_uri(), wait_until="load")
        assert messages == []
        assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
        assert tab.title() == "Leaderboard"  # no script has changed it
        assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        # What is wider than the page is reached by scrolling the table's own frame.
        frames = tab.evaluate(
            "[...document.querySelectorAll('.scroll')].map("
            "f => [f.scrollWidth > f.clientWidth, getComputedStyle(f).overflowX])"
        )
        assert len(frames) == 4
        assert all(how == "auto" for _, how in frames)
        assert any(wide for wide, _ in frames) or width > 390
        return str(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
