"""The packages of exports are imported without telemetry and without messages."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vireid.errors import ExportError
from vireid.optional_packages import package, quiet

# Records every attempt to connect or to fork.
SCRIPT = """
import sys
seen = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "os.fork"):
        seen.append((event, args))
sys.addaudithook(watch)
{before}
import numpy as np
from vireid.optional_packages import package, quiet
openvino, nncf = package("openvino"), package("nncf")
with quiet():
    given = openvino.opset8.parameter([1, 4], np.float32, "x")
    weight = openvino.opset8.constant(np.ones((4, 4), np.float32))
    product = openvino.opset8.matmul(given, weight, False, False)
    model = openvino.Model([product], [given])
    image = np.ones((1, 4), np.float32)
    nncf.quantize(model, nncf.Dataset([image]), subset_size=1)
    try:
        openvino.convert_model("no file")
    except Exception:
        pass
{after}
assert seen == [], seen
print("quantised")
"""
ALREADY_LOADED = "import openvino_telemetry as telemetry, openvino"
SEND = """
sender = telemetry.Telemetry()
sender.send_event("a", "b", "c", force_send=True)
sender.sender.executor.shutdown(wait=True)
"""


@pytest.mark.parametrize(("before", "after"), [("", ""), (ALREADY_LOADED, SEND)])
def test_no_telemetry(before: str, after: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD")}
    home = {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    if before:
        # openvino reports its own import unless the user opted out, as here.
        (tmp_path / "intel").mkdir()
        (tmp_path / "intel/openvino_telemetry").write_text("0")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before, after=after)],
        env={**environment, **home},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "quantised\n"
    assert done.stderr == ""
    if not before:
        assert list(tmp_path.iterdir()) == []


def test_a_missing_package() -> None:
    with pytest.raises(ExportError, match=r"'no_such' cannot|no_such cannot be found.*\[export\]"):
        package("no_such.part")


def test_only_the_own_thread_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = threading.Event(), threading.Event()

    def other() -> None:
        first.wait(60)
        print("from another thread", file=sys.stderr)
        second.set()
        with quiet():
            print("by another package", file=sys.stderr)

    thread = threading.Thread(target=other)
    thread.start()
    with quiet():
        first.set()
        assert second.wait(60)
        print("by a package", file=sys.stderr)
    thread.join(60)
    print("afterwards", file=sys.stderr)
    assert capsys.readouterr().err.splitlines() == ["from another thread", "afterwards"]
