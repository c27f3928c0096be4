from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.reports import toys
from tests.reports.test_report import Tags

from vireid.errors import EvaluationError, ImageError
from vireid.evaluation import KReciprocal, Protocol, Ranking, Result, evaluate_with_search
from vireid.evaluation.analysis import Search
from vireid.reports import write_evaluation

PICTURES = {"cmc.png", "similarities.png", "cameras.png", "rankings.png", "worst.png"}
Evaluated = tuple[Result, Search]


def score(protocol: Protocol, ranking: Ranking | None = None) -> Evaluated:
    features = toys.features(protocol, 1.6)
    return evaluate_with_search(features, protocol, ranking=ranking)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return score(toys.drawn(tmp_path_factory.mktemp("drawn"), people=2))


@pytest.fixture(scope="module")
def page(evaluated: Evaluated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "new" / "folder"
    reranked = score(evaluated[1].protocol, Ranking(reranking=KReciprocal(k1=4, k2=2)))
    return write_evaluation(
        folder, [evaluated, reranked], title="Two <rankings>", name="DLIS", facts={"seed": "0"}
    )


def test_writes_the_pictures_and_nothing_else(page: Path) -> None:
    assert page.name == "report.html"
    written = {path.relative_to(page.parent) for path in page.parent.rglob("*") if path.is_file()}
    plain = Path("drawn-figures-all-search-single-shot-infrared-to-visible-seeded-draw")
    treated = Path(f"{plain}-transductive-re-ranking")
    expected = {folder / picture for folder in (plain, treated) for picture in PICTURES}
    assert written == expected | {Path("report.html")}
    for path in expected:
        with Image.open(page.parent / path) as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.size) > 200


def test_page_has_the_pictures_and_the_tables(page: Path, evaluated: Evaluated) -> None:
    tags = Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    kinds = []
    for tag, attributes in tags.tags:
        if tag == "img":
            head, data = (attributes["src"] or "").split(",", 1)
            with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
                image.load()
                assert head == f"data:{image.get_format_mimetype()};base64"
                kinds.append(image.format)
    assert kinds == ["PNG", "PNG", "PNG", "JPEG", "JPEG"] * 2
    result, _ = evaluated
    assert result.details is not None
    interval = result.interval("mAP")
    assert interval is not None
    for part in (
        "Two <rankings>",
        "DLIS (with transductive re-ranking)",
        "re-ranking k-reciprocal (k1 4, k2 2",
        f"{100 * interval.low:.1f} to {100 * interval.high:.1f}",
        "first of 3 trials",
        "seeded draw (random.seed 0)",
    ):
        assert part in tags.text
    for worst in result.details.worst:
        assert worst.name in tags.text
        assert worst.nearest_wrong is not None
        assert worst.nearest_wrong.name in tags.text
    assert [tag for tag, _ in tags.tags].count("table") == 1 + 2 * 2
    for pair in result.details.camera_pairs:
        if pair.rank1 is not None and pair.mean_ap is not None:
            assert f"{100 * pair.rank1:.2f}{100 * pair.mean_ap:.2f}" in tags.text
    assert tags.text.count("excluded") == 2  # camera 3 against camera 2, once a ranking


def test_strange_names_and_little_to_show(evaluated: Evaluated, tmp_path: Path) -> None:
    result, found = evaluated
    assert result.details is not None
    one_pair, *_ = result.details.camera_pairs
    worst, *_ = result.details.worst
    details = replace(
        result.details, camera_pairs=(one_pair,), worst=(replace(worst, nearest_wrong=None),)
    )
    strange = [
        (replace(result, protocol=name, direction="→", convention="", details=details), found)
        for name in "ΩЮ"
    ]
    out = write_evaluation(tmp_path, strange, title="t")
    folders = {path for path in tmp_path.iterdir() if path.is_dir()}
    assert {folder.name for folder in folders} == {"result", "result-2"}
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == PICTURES - {"cameras.png"}
    assert len({(folder / "worst.png").read_bytes() for folder in folders}) == 1
    page = out.read_text(encoding="utf-8")
    assert "Scores by camera" not in page
    rows = re.findall(rf'<th scope="row">{worst.name}</th>(.*?)</tr>', page)
    assert len(rows) == 2
    assert all(row.endswith("<td>none</td><td></td><td></td>") for row in rows)


def test_nothing_is_written_where_an_image_is_gone(tmp_path: Path) -> None:
    evaluated = score(toys.drawn(tmp_path / "drawn", people=3))
    for path in (tmp_path / "drawn" / "cam6").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(ImageError, match="cam6"):
        write_evaluation(tmp_path / "out", [evaluated], title="t")
    assert not (tmp_path / "out").exists()


def test_results_without_details(evaluated: Evaluated, tmp_path: Path) -> None:
    result, found = evaluated
    with pytest.raises(EvaluationError, match="keeps no details"):
        write_evaluation(tmp_path / "out", [(replace(result, details=None), found)], title="t")


@settings(max_examples=50)
@given(st.text(max_size=150), st.text(max_size=150))
def test_every_name_makes_a_safe_folder(protocol: str, convention: str) -> None:
    result = Result(protocol, "a to b", convention, "image", (), 8)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,118}[a-z0-9])?", result.slug)
