"""The examples in the docstrings run and give what they say."""

import doctest
from types import ModuleType

import pytest

from vireid.data import sampler, transforms


@pytest.mark.parametrize("module", [sampler, transforms])
def test_docstring_examples(module: ModuleType) -> None:
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0
