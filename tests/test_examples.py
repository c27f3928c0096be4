"""The examples in the docstrings run and give what they say."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import vireid
from vireid.data import sampler, transforms
from vireid.methods import dlis
from vireid.nn import palm


def test_no_example_fails() -> None:
    for found in pkgutil.walk_packages(vireid.__path__, "vireid."):
        if not found.name.endswith("__main__"):
            module = importlib.import_module(found.name)
            assert doctest.testmod(module).failed == 0, found.name


@pytest.mark.parametrize("module", [sampler, transforms, dlis, palm])
def test_examples_that_are_there_to_run(module: ModuleType) -> None:
    assert doctest.testmod(module).attempted > 0
