"""``vireid encode RUN IMAGES… --out FILE``: features of images, in a file or many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vireid.cli._flags import Switch
from vireid.cli._memory import keep_memory
from vireid.data.layouts._common import many
from vireid.data.listing import list_images
from vireid.distributed.comm import is_main_process
from vireid.distributed.launch import ONE_PROCESS, Processes, launch
from vireid.errors import ConfigError, ImageError
from vireid.features import load
from vireid.features.bulk import WHOLE, Part, Summary, extract_to_parquet
from vireid.features.parquet import check_ending
from vireid.log import printable
from vireid.runs import Device
from vireid.types import ImageInfo, Modality

__all__ = ["BY_THEMSELVES", "Describing", "encode", "tell_bad", "tell_guessed"]


@dataclass(frozen=True, kw_only=True)
class Describing:
    """What is told of the images, and how they are described."""

    modality: Literal["visible", "infrared"] | None = None
    """Modality where the manifest gives none; detected from each image by default: infrared if it
    has no colour."""
    camera: str = ""
    """Camera where the manifest gives none."""
    skip_bad: Switch = False
    """Skip and list unreadable images instead of stopping at the first."""
    batch_size: int = 64
    """Inference batch size."""
    device: Device | None = None
    """Device; the one used for training by default."""

    def __post_init__(self) -> None:
        try:
            self.camera.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"--camera {self.camera!a} is not UTF-8; expected a name that is, which is what"
                " files of features and galleries hold; write it in UTF-8."
            ) from None

    def images(self, sources: Sequence[str]) -> list[ImageInfo]:
        """The images that some words name.

        Args:
            sources: Files, folders, patterns and manifests.

        Raises:
            VireidError: As :func:`~vireid.data.listing.list_images`.
        """
        modality = Modality(self.modality) if self.modality else None
        return list_images(sources, modality=modality, camera=self.camera)

    @contextlib.contextmanager
    def naming_flag(self) -> Iterator[None]:
        """Say of a bad image how to go on without it."""
        try:
            yield
        except ImageError as error:
            if self.skip_bad:
                raise
            raise ImageError(f"{error} With --skip-bad, bad images are left out.") from error


BY_THEMSELVES = Describing()
"""Nothing is told of images."""


def encode(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")],
    /,
    *,
    out: Path,
    shard_rows: int | None = None,
    part: str = str(WHOLE),
    describing: Describing = BY_THEMSELVES,
    processes: Processes = ONE_PROCESS,
) -> Summary:
    """Extract features with a trained model into a file or a folder of shards.

    `vireid gallery add --encoded` accepts the file or folder. Run the same command again to
    continue after an interruption.

    Args:
        run: Finished run folder or export.
        images: Image files, folders (searched recursively), quoted patterns ('day/**/*.jpg'),
            and manifests: .csv or .parquet files with a column path and, optionally, modality,
            camera, identity, time (ISO 8601, UTC unless it has an offset) and note.
        out: Output file, ending in .parquet; with --shard-rows the output folder.
        shard_rows: Write a folder of Parquet files with this many images each, for galleries
            too large for one file; 10000 is a good value.
        part: With --shard-rows, process only the I-th of N parts, written I/N (such as 2/4), to
            split the work between machines.
        describing: Options for the images.
        processes: Processes that share the images.

    Returns:
        What the file, or this part of the folder, holds.
    """
    own = Part.parse(part)
    if shard_rows is None:
        check_ending(out)
        if own != WHOLE:
            raise ConfigError(
                f"--part {own} is of shards, and none are asked for; expected --shard-rows beside"
                " it, the same for all parts; add --shard-rows 10000."
            )
    elif out.suffix.lower() == ".parquet" or out.is_file():
        raise ConfigError(
            f"--out '{out}' is the name of a file; expected one for the folder of the shards that"
            " --shard-rows asks for; leave out its ending, or --shard-rows."
        )
    return launch(
        partial(_encode, run, images, out, shard_rows, own, describing),
        processes=processes,
        device=describing.device,
        again="the same command goes on",
    )


def _encode(
    run: Path,
    images: Sequence[str],
    out: Path,
    shard_rows: int | None,
    part: Part,
    describing: Describing,
) -> Summary:
    """Run in each process."""
    listed = describing.images(images)
    keep_memory()
    extractor = load(run, device=describing.device)
    with describing.naming_flag():
        summary = extract_to_parquet(
            extractor,
            listed,
            out,
            shard_rows=shard_rows,
            part=part,
            batch_size=describing.batch_size,
            skip_bad=describing.skip_bad,
        )
    if is_main_process():
        _tell(out, part, summary)
    return summary


def _tell(out: Path, part: Part, summary: Summary) -> None:
    """Print what a file, or a part of a folder, holds now."""
    again = f", {summary.resumed:,} of them by an earlier run" if summary.resumed else ""
    holds = "holds" if part == WHOLE else f"holds in part {part}"
    print(
        f"'{out}' {holds} the features of {many(summary.rows, 'image')}{again}:"
        f" {summary.model.dimension:,} numbers each, by the network"
        f" {summary.model.fingerprint}."
    )
    tell_guessed(summary.guessed)
    tell_bad(summary.bad)


def tell_guessed(guessed: Mapping[Modality, int]) -> None:
    """Print how many modalities were guessed, if any were."""
    number = sum(guessed.values())
    if number:
        each = " and ".join(f"{guessed[m]:,} {m}" for m in Modality if guessed.get(m))
        print(
            f"The modality of {many(number, 'image')} was detected from the colours: {each}."
            " Override with --modality or in a manifest."
        )


def tell_bad(bad: Sequence[str]) -> None:
    """Print what is wrong with each image that was skipped, if any was."""
    if bad:
        print(f"{many(len(bad), 'image was', 'images were')} skipped:")
        print("\n".join(f"  {printable(fault)}" for fault in bad))
