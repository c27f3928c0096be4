"""Memory that was freed is used again without asking the system."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from vireid.cli._memory import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(100_000_000, np.uint8)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(after - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_pages_are_kept() -> None:
    kept, returned = (
        int(subprocess.check_output([sys.executable, "-c", PROGRAM, how]))
        for how in ("keep", "return")
    )
    assert kept < 10 < returned
