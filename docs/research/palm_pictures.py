"""Draw the attention maps of several runs for one person in both modalities.

python -m docs.research.palm_pictures RUN… --out maps.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vireid.features import load
from vireid.reports import AttentionPanel, attention_figure
from vireid.runs import RunFolder
from vireid.types import Modality


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--person", type=int, default=0, help="index of the test identity")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    records = RunFolder(args.runs[0]).read_config().data.open().test()
    person = sorted({r.identity for r in records})[args.person]
    shown = [
        next(r for r in records if r.identity == person and r.modality is modality)
        for modality in Modality
    ]
    panels = [
        AttentionPanel.of(found, name=f"{run.name}, {found.record.modality}")
        for run in args.runs
        for found in load(run).attention(shown)
    ]
    attention_figure(panels).savefig(args.out, dpi=80, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
