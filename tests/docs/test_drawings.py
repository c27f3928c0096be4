"""The drawings in docs/images are those of docs/drawings.py."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
DRAWINGS = runpy.run_path(str(DOCS / "drawings.py"))["DRAWINGS"]


@pytest.mark.parametrize("name", sorted(DRAWINGS))
def test_drawing_is_up_to_date(name: str) -> None:
    assert (DOCS / f"images/{name}.svg").read_text() == str(DRAWINGS[name]())
    assert f"images/{name}.svg" in "".join(p.read_text() for p in DOCS.glob("*.md"))
