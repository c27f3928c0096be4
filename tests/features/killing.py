"""Bulk extraction in processes that are killed at a flush to the disk, and resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

KILLING = """
import json, os, signal, sys
from pathlib import Path
import torch
from vireid.data.listing import list_images
from vireid.features import FeatureExtractor, TorchBackend
from vireid.features.bulk import extract_to_parquet
from vireid.methods import DLISConfig

torch.set_num_threads(1)
torch.manual_seed(0)
method = DLISConfig(
    backbone="resnet18", weights="none", size=(64, 32), stripes=2, dim=8, shared_from="layer2"
)
network = method.build(classes=3)
images = list_images([sys.argv[1]])

def run(file, last_sync):
    # In a child process, which is killed at its n-th flush to the disk.
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        extracted = 0
        while more := len(os.read(reading, 1000)):
            extracted += more
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), extracted
    extractor = FeatureExtractor(TorchBackend(network, device="cpu"), about={"recipe": "dlis"})
    extractor.dimension
    extract, fsync, synced = network.extract_features, os.fsync, []

    def counting(pixels, modality):
        os.write(writing, b"." * len(pixels))
        return extract(pixels, modality)

    def syncing(descriptor):
        synced.append(descriptor)
        if len(synced) == last_sync:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    network.extract_features, os.fsync = counting, syncing
    EXTRACT
    os._exit(0)

print(json.dumps([[run(f, int(k)), run(f, 0)] for k, f in map(str.split, sys.argv[2:], "=" * 99)]))
"""

Outcome = list[tuple[tuple[int, int], tuple[int, int]]]


def kill_and_resume(extract: str, images: Path, moments: Mapping[int, Path]) -> Outcome:
    """Extract images into several files or folders, each killed once.

    Args:
        extract: A statement that extracts ``images`` with ``extractor`` into ``file``.
        images: The folder of the images.
        moments: The outputs by the flush at which the process is killed, counted from 1.

    Returns:
        For each output, of the killed and of the second process: its exit code, and how many
        images passed its network.
    """
    words = [f"{moment}={place}" for moment, place in moments.items()]
    done = subprocess.run(
        [sys.executable, "-c", KILLING.replace("EXTRACT", extract), str(images), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return [((*killed,), (*second,)) for killed, second in json.loads(done.stdout)]
