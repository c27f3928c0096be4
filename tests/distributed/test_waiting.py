"""OpenMP's idle threads sleep in every command, unless the user has chosen otherwise."""

import os
import subprocess
import sys

import pytest

# Ends where torch, and OpenMP with it, would be loaded.
PROGRAM = """
import os, sys

class Probe:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"))
            os._exit(not sys.stdout.flush())

sys.meta_path.insert(0, Probe())
from vireid.cli import main
main(["train", "--help"])
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "PASSIVE None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),
        ({"GOMP_SPINCOUNT": "1000"}, "None 1000"),
    ],
)
def test_the_policy_is_set_before_torch_is_imported(given: dict[str, str], expected: str) -> None:
    settings = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    environment = {k: v for k, v in os.environ.items() if k not in settings} | given
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip() == expected, found.stderr
    assert found.returncode == 1
