from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from PIL import Image
from tests.reports import toys

from vireid.errors import EvaluationError
from vireid.evaluation import Result
from vireid.evaluation.bootstrap import ByIdentity
from vireid.reports import (
    EmbeddedFigure,
    FigureSection,
    Step,
    Table,
    cmc_figure,
    training_figure,
    write_report,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
NASTY = '"><script>document.title="ran"</script><img src=x onerror="document.title=1">&amp;'


class Tags(HTMLParser):
    """Every tag with its attributes, every link, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "br", "source"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    return toys.results(toys.drawn(tmp_path_factory.mktemp("drawn"), people=5))


@pytest.fixture(scope="module")
def page(results: dict[str, Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "new" / "report <1>.html"
    named = {**results, f"method {NASTY}": results["untrained"]}
    cmc = EmbeddedFigure.of(cmc_figure(results), alt=f"CMC {NASTY}", caption=f"CMC of {NASTY}")
    curves = EmbeddedFigure.of(training_figure({"a": toys.history()}), alt="curves", wide=True)
    return write_report(
        out,
        title=f"Report {NASTY}",
        facts={"data": f"/data/{NASTY}/" + "x" * 200, NASTY: "seed 0", "surrogate": "\udcff.jpg"},
        results={name: [result] for name, result in named.items()},
        figures=[
            FigureSection("CMC", f"How to read {NASTY}", (cmc,)),
            FigureSection(
                NASTY,
                "",
                (curves,),
                (Table(f"Table {NASTY}", ("name", NASTY), ((NASTY, "1"), ("row", NASTY))),),
            ),
            FigureSection("nothing to see", "", ()),
        ],
        notes=["Synthetic people say nothing about real ones.", NASTY],
        next_steps=[
            Step("Train", "vireid train dlis --layout regdb --root " + "d" * 120),
            Step(NASTY),
        ],
        command="vireid demo '<b>'",
    )


@pytest.fixture(scope="module")
def parsed(page: Path) -> Tags:
    tags = Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    assert not tags.open
    return tags


def test_stands_alone(parsed: Tags, page: Path) -> None:
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    style = re.search(r"<style>(.*?)</style>", page.read_text(), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_everything_is_escaped(parsed: Tags) -> None:
    assert parsed.text.count("<script>") >= 9  # as text only
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert len(images) == 2
    assert all(attributes["alt"] for attributes in images)
    assert images[0]["alt"] == f"CMC {NASTY}"


def test_pictures_are_inside(parsed: Tags) -> None:
    for tag, attributes in parsed.tags:
        if tag == "img":
            data = base64.b64decode((attributes["src"] or "").split(",", 1)[1], validate=True)
            assert data.startswith(b"\x89PNG")


def test_every_figure_has_a_dark_rendering(parsed: Tags) -> None:
    sources = [attributes for tag, attributes in parsed.tags if tag == "source"]
    images = [attributes["src"] for tag, attributes in parsed.tags if tag == "img"]
    assert len(sources) == len(images) == 2
    for source, image in zip(sources, images, strict=True):
        assert source["media"] == "(prefers-color-scheme: dark)"
        assert source["srcset"] != image
        dark, light = (
            Image.open(io.BytesIO(base64.b64decode(str(data).split(",", 1)[1])))
            for data in (source["srcset"], image)
        )
        assert dark.size == light.size
        assert np.asarray(dark.convert("L")).mean() < 80
        assert np.asarray(light.convert("L")).mean() > 200


def test_says_when_and_by_which_command_it_was_written(parsed: Tags) -> None:
    assert re.search(
        r"Written 20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ by vireid demo '<b>'\.", parsed.text
    )


def test_says_what_it_must(parsed: Tags, results: dict[str, Result]) -> None:
    dlis = results["DLIS"]
    for part in (
        "Synthetic people say nothing",
        f"{100 * dlis.cmc(1).mean:.2f} ± {100 * dlis.cmc(1).std:.2f}",
        f"{100 * dlis.chance.mean_ap:.2f}",
        "AT CHANCE LEVEL",
        "re-ranking none; test-time augmentation none",
        "CMC by identity",
        "seeded draw",
        "mINP",
        "vireid train dlis",
        "numpy",
    ):
        assert part in parsed.text
    assert "nothing to see" not in parsed.text  # a section without pictures or text
    assert parsed.text.index("Synthetic") < parsed.text.index("mINP")


def test_one_table_a_protocol(results: dict[str, Result], tmp_path: Path) -> None:
    forth = results["DLIS"]
    back = replace(forth, direction="visible to infrared")
    out = write_report(
        tmp_path / "r.html", title="t", facts={}, results={"a": [forth, back], "b": [back]}
    )
    tags = Tags()
    tags.feed(out.read_text())
    assert [tag for tag, _ in tags.tags].count("table") == 2
    assert write_report(tmp_path / "empty.html", title="t", facts={}, results={}).stat().st_size


def test_results_that_cannot_be_distinguished(results: dict[str, Result], tmp_path: Path) -> None:
    result = results["DLIS"]
    treated = replace(result, reranking="k-reciprocal")
    write_report(tmp_path / "a.html", title="t", facts={}, results={"DLIS": [result, treated]})
    assert "DLIS (with re-ranking)" in (tmp_path / "a.html").read_text()
    with pytest.raises(EvaluationError, match="two results of 'DLIS'"):
        write_report(tmp_path / "b.html", title="t", facts={}, results={"DLIS": [result, result]})
    assert not (tmp_path / "b.html").exists()


def test_one_identity_has_no_interval(results: dict[str, Result], tmp_path: Path) -> None:
    result = results["DLIS"]
    nobody = ByIdentity((1,), (1,), (1,), (1.0,), (1.0,))
    trials = tuple(replace(trial, by_identity=nobody) for trial in result.trials)
    for found, small in ((result, 3), (replace(result, trials=trials), 0)):
        out = write_report(tmp_path / "r.html", title="t", facts={}, results={"DLIS": [found]})
        assert out.read_text().count("<small>") == small


def test_conditions_shared_and_own(results: dict[str, Result], tmp_path: Path) -> None:
    first, second = results["DLIS"], replace(results["TSLFN"], about={"backbone": "other"})
    out = write_report(
        tmp_path / "r.html", title="t", facts={}, results={"DLIS": [first], "TSLFN": [second]}
    )
    page = out.read_text()
    shared = first.conditions()[0]
    assert page.count(escape(shared)) == 1
    assert f"DLIS: {shared}" not in page
    assert "DLIS: backbone toy<br>" in page
    assert "TSLFN: backbone other</p>" in page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium to run this test")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield chromium
        chromium.close()


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
        fetched = [url for url in requests if not url.startswith("data:")]
        assert fetched == [page.as_uri()]
        assert tab.title() == f"Report {NASTY}"  # no script has changed it
        loaded = tab.evaluate(
            "[...document.images].map(i => i.complete && i.naturalWidth > 0 && i.alt !== '')"
        )
        assert loaded == [True, True]
        overflow = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0
        return str(tab.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_real_browser(browser: Browser, page: Path, width: int) -> None:
    assert _visit(browser, page, width, "light") != _visit(browser, page, width, "dark")
