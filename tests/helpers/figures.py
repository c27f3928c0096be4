"""Figures in tests that do not look at them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from vireid.reports import report


@contextmanager
def figures_not_rendered() -> Iterator[None]:
    """Let figures be composed and not rendered, which takes an evaluation of few images longest."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")

    def blank(figure: Figure, **options: Any) -> bytes:
        assert figure.axes
        return buffer.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "png", blank)
        yield
