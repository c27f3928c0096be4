"""The evaluation works on features and labels only."""

import subprocess
import sys


def test_evaluation_imports_neither_a_method_nor_torch() -> None:
    code = "import sys, vireid.evaluation; print(*sys.modules)"
    words = [sys.executable, "-c", code]
    modules = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert "vireid.evaluation" in modules
    forbidden = ("torch", "vireid.methods", "vireid.nn", "vireid.features", "vireid.runs")
    assert [name for name in modules if name.startswith(forbidden)] == []
