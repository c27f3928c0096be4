"""A stand-in for pandas, which nothing else of the development environment needs."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Self

import pytest


class DataFrame:
    """What :meth:`vireid.evaluation.Result.to_frame` uses of it."""

    rows: dict[str, dict[str, float]]
    attrs: dict[str, Any]

    @classmethod
    def from_dict(cls, rows: dict[str, dict[str, float]], *, orient: str) -> Self:
        assert orient == "index"
        found = cls()
        found.rows, found.attrs = rows, {}
        return found


def install_pandas(patch: pytest.MonkeyPatch) -> None:
    """Let ``import pandas`` find the stand-in."""
    module = ModuleType("pandas")
    module.__spec__ = ModuleSpec("pandas", None)
    module.__dict__["DataFrame"] = DataFrame
    patch.setitem(sys.modules, "pandas", module)
