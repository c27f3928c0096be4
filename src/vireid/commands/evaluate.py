"""``vireid evaluate RUN``: the scores of a trained network under the published protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from vireid.encoder import Encoder, load
from vireid.evaluation import Protocol, Result, protocols_for
from vireid.evaluation import evaluate as score
from vireid.training import RunFolder
from vireid.training.run import Device
from vireid.types import Descriptors

__all__ = ["encode_for", "evaluate", "score_encoder"]


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    root: Path | None = None,
    batch_size: int = 64,
    device: Device | None = None,
) -> list[Result]:
    """Evaluate a run: SYSU-MM01 all-search single-shot (ten trials), or RegDB in both directions.

    Prints the field's table with the chance level beneath and saves RUN/result-*.json.

    Args:
        run: A finished run folder.
        root: Where the data set lies now, if it was moved since training.
        batch_size: Images a forward pass.
        device: Where to run; as in training by default.

    Returns:
        One result a protocol.
    """
    config = RunFolder(run).read_config()
    protocols = protocols_for(config.open_layout(root))
    encoder = load(run, device=device)
    descriptors = encode_for(encoder, protocols, batch_size=batch_size)
    results = score_encoder(encoder, descriptors, protocols)
    for result in results:
        print(result, end="\n\n")
        result.save(run / f"result-{result.direction.replace(' ', '-')}.json")
    return results


def encode_for(
    encoder: Encoder, protocols: Sequence[Protocol], *, batch_size: int = 64
) -> Descriptors:
    """Descriptors of every image that some protocols need, with one forward pass an image.

    Args:
        encoder: The network.
        protocols: The protocols.
        batch_size: Images a forward pass.
    """
    records = sorted({record for protocol in protocols for record in protocol.records})
    return encoder.encode(records, batch_size=batch_size)


def score_encoder(
    encoder: Encoder, descriptors: Descriptors, protocols: Sequence[Protocol]
) -> list[Result]:
    """Score a network under several protocols.

    Args:
        encoder: The network.
        descriptors: Its descriptors of at least the protocols' images.
        protocols: The protocols.

    Returns:
        One result a protocol, in their order.
    """
    return [
        score(descriptors, protocol, fingerprint=encoder.fingerprint, about=encoder.about)
        for protocol in protocols
    ]
