"""``vireid encode [RUN] IMAGES… --out FILE``: features of images, in a file or many."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from vireid.cli._images import (
    DEFAULT_IMAGE_OPTIONS,
    ImageOptions,
    installed_by_default,
    print_converted,
    print_detected,
    print_skipped,
)
from vireid.cli._memory import keep_memory
from vireid.distributed.comm import is_main_process
from vireid.distributed.launch import ONE_PROCESS, Processes, launch
from vireid.errors import ConfigError, DatasetError, many
from vireid.features import load
from vireid.features.bulk import WHOLE, Part, Summary, extract_to_parquet
from vireid.features.extractor import open_by_plugin
from vireid.features.parquet import check_ending
from vireid.files import require_writable
from vireid.log import echo
from vireid.models import installed_models, name_installed
from vireid.types import ImageInfo

__all__ = ["encode"]


def encode(
    images: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN] IMAGE...")
    ],
    /,
    *,
    run: Path | None = None,
    out: Path,
    shard_rows: int | None = None,
    part: str = str(WHOLE),
    options: ImageOptions = DEFAULT_IMAGE_OPTIONS,
    processes: Processes = ONE_PROCESS,
) -> Summary:
    """Extract features with a trained model into a file or a folder of shards.

    `vireid gallery add --encoded` accepts the file or folder. Run the same command again to
    continue after an interruption.

    Args:
        images: Image files, folders (searched recursively), quoted patterns ('day/**/*.jpg'), and
            manifests: .csv or .parquet files with a column path and, optionally, modality, camera,
            identity, time (ISO 8601, UTC unless it has an offset), tracklet and note. Before them
            the run: a finished run folder, export or name of an installed model; without it, the
            default model (`vireid models`) is used.
        run: The run, instead of as the first argument.
        out: Output file, ending in .parquet; with --shard-rows the output folder.
        shard_rows: Write a folder of Parquet files with this many images each, for galleries
            too large for one file; 10000 is a good value.
        part: With --shard-rows, process only the I-th of N parts, written I/N (such as 2/4), to
            split the work between machines.
        options: Options for the images.
        processes: Processes that share the images.

    Returns:
        What the file, or this part of the folder, holds.
    """
    own = Part.parse(part)
    if shard_rows is None:
        check_ending(out)
        if own != WHOLE:
            raise ConfigError(
                f"--part {own} is given without --shard-rows; expected both, with the same"
                " --shard-rows for all parts; add --shard-rows 10000."
            )
    elif out.suffix.lower() == ".parquet" or out.is_file():
        raise ConfigError(
            f"--out '{out}' is a file name; expected a folder for the shards of --shard-rows; omit"
            " its extension, or omit --shard-rows."
        )
    require_writable(out, folder=shard_rows is not None)
    return launch(
        partial(_encode, run, images, out, shard_rows, own, options),
        processes=processes,
        device=options.device,
        recovery="run the same command again to continue",
    )


def _encode(
    run: Path | None,
    images: Sequence[str],
    out: Path,
    shard_rows: int | None,
    part: Part,
    options: ImageOptions,
) -> Summary:
    """Run in each process."""
    model, listed = _model_and_images(run, images, options)
    keep_memory()
    extractor = load(model, device=options.device, tone_mapping=options.tone_mapping)
    with options.hint():
        summary = extract_to_parquet(
            extractor,
            listed,
            out,
            shard_rows=shard_rows,
            part=part,
            batch_size=options.batch_size,
            skip_bad=options.skip_bad,
        )
    if is_main_process():
        _print_summary(out, part, summary)
    return summary


def _model_and_images(
    run: Path | None, words: Sequence[str], options: ImageOptions
) -> tuple[Path, list[ImageInfo]]:
    """The model, which the first word may name, and the images.

    Raises:
        VireidError: The first word is neither model nor image, or another one is no image.
    """
    if run is not None:
        return run, options.list(words)
    first = Path(words[0]) if words else Path()
    if (
        first.name == "model.safetensors"
        or (first / "config.yaml").is_file()
        or (str(first) in installed_models() and not first.exists())
        or open_by_plugin(first, options.device or "auto")
    ):
        return first, options.list(words[1:])
    try:
        listed = options.list(words)
    except DatasetError as error:
        if not str(error).startswith(f"'{words[0]}'"):
            raise
        raise DatasetError(
            f"{error} As the first argument, '{words[0]}' is no run folder and no installed model"
            f" either; {name_installed()}."
        ) from error
    return installed_by_default(), listed


def _print_summary(out: Path, part: Part, summary: Summary) -> None:
    """Print what a file, or a part of a folder, holds."""
    where = f"'{out}'" if part == WHOLE else f"Part {part} of '{out}'"
    earlier = f" ({summary.resumed:,} from an earlier run)" if summary.resumed else ""
    echo(
        f"{where} holds the features of {many(summary.rows, 'image')}{earlier}: dimension"
        f" {summary.model.dimension:,}, network {summary.model.fingerprint}."
    )
    print_converted(summary.remarks)
    print_detected(summary.guessed)
    print_skipped(summary.bad)
