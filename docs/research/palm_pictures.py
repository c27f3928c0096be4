"""Where the PALMs of several runs look, over one person in both modalities, in one picture.

python docs/research/palm_pictures.py RUN… --out maps.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.features import load
from vireid.reports import AttentionPanel, attention_figure
from vireid.runs import RunFolder
from vireid.types import Modality


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--person", type=int, default=0, help="which of the test people")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    records = RunFolder(given.runs[0]).read_config().data.open().test()
    person = sorted({r.identity for r in records})[given.person]
    shown = [
        next(r for r in records if r.identity == person and r.modality is modality)
        for modality in Modality
    ]
    panels = [
        AttentionPanel.of(found, name=f"{run.name}, {found.record.modality}")
        for run in given.runs
        for found in load(run).attention(shown)
    ]
    attention_figure(panels).savefig(given.out, dpi=80, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
