"""What every message about a data set must be."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from vireid.errors import DatasetError


def refused(action: Callable[[], object]) -> str:
    """The message of a DatasetError."""
    with pytest.raises(DatasetError) as caught:
        action()
    return sentence(str(caught.value))


def sentence(message: str) -> str:
    """The message, having found it to be one sentence that says what was expected."""
    assert message.endswith(".")
    assert "; expected" in message
    assert "\n" not in message
    return message


def only(problems: Iterable[str]) -> str:
    """The one problem there is."""
    (problem,) = problems
    return sentence(problem)
