"""What attention does to a trained network's descriptors, without training anything anew.

    python docs/research/palm_by_hand.py RUN

RUN is a finished run of dlis-strong-cpu on SynVI as SYSU-MM01. Its maps before PALM are computed
once; each line is the score of the same heads on maps that were changed by hand, from infrared to
visible (as the protocol says) and the other way round (all visible queries against all infrared
images).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

import vireid
from vireid.evaluation import Protocol, evaluate, protocols_for
from vireid.methods import DLIS
from vireid.nn import PALM, join_stripes, observe_palm, record_attention
from vireid.training import RunFolder
from vireid.types import Descriptors, Modality


def changed(x: Tensor, palm: PALM, attention: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Maps ``[n, C, h, w]`` as they are without PALM, with it, and changed in other ways."""
    n, _, h, w = x.shape
    yield "PALM taken out", x
    yield "PALM as trained", palm(x)
    attended = (attention @ x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
    received = attention.sum(1).reshape(n, 1, h, w)
    yield "mean of the map added", x + x.mean((2, 3), keepdim=True)
    yield "attended map added", x + attended
    yield "attended map added, centred", x + attended - attended.mean((2, 3), keepdim=True)
    for gamma in (1, -1, -3):
        weights = ((1 + received) / 2) ** gamma
        yield f"guided, gamma {gamma}", x * weights / weights.mean(3, keepdim=True)


@torch.inference_mode()
def main() -> None:
    """Print statistics, the attention received by column, and the scores."""
    run = Path(sys.argv[1])
    encoder = vireid.load(run)
    network = cast(DLIS, encoder.network)
    (palm,) = (m for m in network.modules() if isinstance(m, PALM))
    layout = RunFolder(run).read_config().data.open()
    sides = {m: [r for r in layout.test() if r.modality is m] for m in Modality}
    found: list[Tensor] = []
    handle = palm.register_forward_hook(lambda _, given, y: found.append(given[0].contiguous()))
    for modality, records in sides.items():
        with observe_palm(network) as (seen,):
            encoder.encode(records, progress=False)
        print(modality, seen, flush=True)
    handle.remove()
    x = torch.cat(found).float()
    with record_attention(palm) as maps:
        palm(x)
    columns = maps[0].sum(1).reshape(len(x), *x.shape[2:]).mean((0, 1))
    print("attention received by column, 1 if uniform:", [round(float(c), 2) for c in columns])
    swapped = Protocol.of(
        [(sides[Modality.VISIBLE], sides[Modality.INFRARED])],
        name="SynVI as SYSU-MM01, roles swapped",
        direction="visible to infrared",
        convention="all test images",
        cmc="identity",
        excluded_cameras=((2, 3),),
    )
    records = (*sides[Modality.VISIBLE], *sides[Modality.INFRARED])
    for name, y in changed(x, palm, maps[0]):
        rows = join_stripes(network.heads(network.pool(y)))
        for protocol in (*protocols_for(layout), swapped):
            result = evaluate(Descriptors(values=rows.numpy(), records=records), protocol)
            scores = f"R-1 {100 * result.cmc(1).mean:.2f} mAP {100 * result.mean_ap.mean:.2f}"
            print(f"{name:30} {protocol.direction}: {scores}", flush=True)


if __name__ == "__main__":
    main()
