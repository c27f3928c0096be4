"""What a round says of itself, and when it warns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.errors import many
from vireid.types import Modality

__all__ = ["describe_round", "lacking_clusters", "lacking_images", "warning_of"]

_HUGE = 0.2
"""Share of a modality's images from which one cluster is suspect, where there are many."""
_WIDE = 0.1
"""Share of a modality's images in a neighbourhood above which it is hardly that of one person."""
_TWO_GROUPS = 3.5
"""Separation of the images from which they make two groups."""
_WRONG = 0.15
"""Share of a modality's images in the group of the other from which modalities are suspect."""
_HALF = 0.5
"""The same where there are few."""


def lacking_images(counts: Mapping[Modality, int]) -> str:
    """Why there are too few images to adapt to, as a sentence; empty if there are enough.

    Args:
        counts: Number of images by modality.
    """
    for modality, count in counts.items():
        if count < 2:
            return (
                f"Adaptation got {count} {modality} image{'' if count == 1 else 's'} among"
                f" {sum(counts.values()):,}; expected images of both modalities; add a folder of"
                " the other, or give the right modalities in a manifest."
            )
    return ""


def lacking_clusters(report: Mapping[str, Any]) -> str:
    """Why there are too few clusters to adapt to, as a sentence; empty if there are enough.

    Args:
        report: What is known of a round.
    """
    for modality in Modality:
        count = report[f"{modality}_clusters"]
        if count < 2:
            return (
                f"The {modality} images make {many(count, 'cluster')}; expected"
                " at least 2: several images of each of several people; add images, or change"
                " its options: `vireid adapt --cut 0.85 --min-images 2`."
            )
    return ""


def warning_of(report: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """A warning of what looks wrong in a round's clusters and matches, or an empty string.

    Args:
        report: The round.
        history: The rounds before.
    """
    found = []
    first = history[0] if history else report
    for m in Modality:
        largest, clustered = report[f"{m}_largest"], report[f"{m}_clustered"]
        count = report[f"{m}_clusters"]
        if largest > max(_HUGE, min(3 / max(count, 1), _HALF)):
            found.append(
                f"one cluster holds {largest:.0%} of the {m} images; if they are not one person,"
                " adapt again with a lower value of `vireid adapt --cut`"
            )
        if 2 * report[f"{m}_clusters"] < first[f"{m}_clusters"]:
            found.append(
                f"the {m} clusters fell from {first[f'{m}_clusters']} to {report[f'{m}_clusters']}:"
                " they swallow each other; adapt again with a lower `vireid adapt --cut` or --lr"
            )
        wide = report[f"{m}_neighbourhood"]
        if not history and wide > _WIDE:
            found.append(
                f"`vireid adapt --k1` is {wide:.0%} of the {m} images: clusters hold several people"
                " unless each has about as many images; lower it to that number, or add images"
            )
        if not history and clustered < 0.5:
            found.append(
                f"only {clustered:.0%} of the {m} images are in a cluster, and the others are not"
                " trained on; several images of each person are needed: add some, or adapt"
                " again with `vireid adapt --cut 0.85 --min-images 2`"
            )
    wrong = {m: report[f"{m}_wrong_side"] for m in Modality}
    if not history and report["separation"] > _TWO_GROUPS and max(wrong.values()) > _WRONG:
        shares = " and ".join(f"{share:.0%} of the {m} images" for m, share in wrong.items())
        found.append(
            f"{shares} look like those of the other modality: their modalities may be wrong; give"
            " them in the column modality of a manifest"
        )
    clusters = [report[f"{m}_clusters"] for m in Modality]
    if not history and 5 * min(clusters) < max(clusters):
        found.append(
            f"{clusters[0]} visible and {clusters[1]} infrared clusters cannot be the same people;"
            " matches can be right for the fewer only"
        )
    return f"Round {len(history) + 1}: {'; '.join(found)}." if found else ""


def describe_round(name: str, report: Mapping[str, Any]) -> str:
    """A line that describes the labels of a round.

    Args:
        name: The round.
        report: What is known of it.
    """
    parts = [
        f"{many(report[f'{m}_clusters'], f'{m} cluster')}"
        f" ({report[f'{m}_clustered']:.0%} of the images, silhouette"
        f" {report[f'{m}_silhouette']:.2f})"
        for m in Modality
    ]
    parts += [
        f"{many(report['matched'], 'match', 'matches')}"
        f" (mutual nearest {report['mutual']:.0%}, by chance {report['mutual_by_chance']:.0%})",
        f"agreement {report['agreement']:.2f}",
    ]
    if "right_matches" in report:
        purities = " and ".join(f"{report[f'{m}_purity']:.3f}" for m in Modality)
        parts.append(f"measured: purity {purities}, right matches {report['right_matches']:.1%}")
    return f"{name}: {', '.join(parts)}"
