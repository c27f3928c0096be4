"""The options of commands that extract features of images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vireid.cli._flags import Switch
from vireid.data.inspection import describe_guesses
from vireid.data.layouts.pattern import AUTO, PathPattern, guess_pattern
from vireid.data.listing import list_images
from vireid.data.tone_mapping import ToneMapping
from vireid.errors import ConfigError, GalleryError, ImageError, many
from vireid.gallery import open_gallery
from vireid.log import echo, log, printable
from vireid.models import InstalledModel, default_model, installed_models, name_installed
from vireid.types import Device, ImageInfo, Modality

if TYPE_CHECKING:
    from vireid.features import FeatureExtractor

__all__ = [
    "DEFAULT_IMAGE_OPTIONS",
    "ImageOptions",
    "LabelOptions",
    "installed_by_default",
    "list_labelled",
    "load_for_gallery",
    "model_for_gallery",
    "print_converted",
    "print_detected",
    "print_skipped",
]


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """What is known of images and videos."""

    modality: Literal["visible", "infrared"] | None = None
    """Modality where neither a manifest nor the pattern gives one; detected from each image or
    tracklet by default: infrared if it has no colour."""
    camera: str = ""
    """Camera likewise."""
    pattern: str = ""
    """Pattern of the ends of paths, for what a manifest does not give, such as
    'cam{camera}_{time:%Y%m%dT%H%M%S}_{any}.jpg' (also {identity}, {tracklet} and {modality}; {} is
    any text, ** any folders); auto recognises the names of known data sets."""

    def __post_init__(self) -> None:
        try:
            self.camera.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"--camera {self.camera!a} is not UTF-8; expected a name that is,"
                " because feature files and galleries store UTF-8."
            ) from None


@dataclass(frozen=True, kw_only=True)
class ImageOptions(LabelOptions):
    """Options for the images."""

    skip_bad: Switch = False
    """Skip and list unreadable images instead of stopping at the first."""
    tone_mapping: str = ""
    """How images of more than 8 bits are mapped to 8: auto (by each file), full, percentile:1:99,
    bounds:LOW:HIGH, celsius:LOW:HIGH, or bounds per camera, such as
    bounds:yard=29000:31000,gate=28500:30500; that of the gallery or of the run by default."""
    batch_size: int = 64
    """Inference batch size."""
    device: Device | None = None
    """Device; the one used for training by default."""

    def list(self, sources: Sequence[str], *, videos: bool = True) -> list[ImageInfo]:
        """List the images.

        Args:
            sources: Files, folders, patterns and manifests.
            videos: Whether to log that videos are left out.

        Raises:
            VireidError: As :func:`~vireid.data.listing.list_images`.
        """
        modality = Modality(self.modality) if self.modality else None
        return list_labelled(
            sources, self.pattern, modality=modality, camera=self.camera, videos=videos
        )

    @contextlib.contextmanager
    def hint(self) -> Iterator[None]:
        """Mention --skip-bad in the error of an unreadable image."""
        try:
            yield
        except ImageError as error:
            if self.skip_bad:
                raise
            raise ImageError(f"{error} With --skip-bad, bad images are left out.") from error


DEFAULT_IMAGE_OPTIONS = ImageOptions()


def model_for_gallery(run: Path | None, gallery: str, *, create: bool = False) -> Path:
    """The given run, or without one the installed model of a gallery, which is logged.

    Args:
        run: The run folder, export or name, if one is given.
        gallery: The gallery.
        create: Take the default model for a gallery that does not exist yet.

    Raises:
        VireidError: No run is given, and the model is not installed.
    """
    if run is not None:
        return run
    try:
        with open_gallery(gallery) as opened:
            standardisation = opened.standardisation
            network = standardisation.network(opened.model) if standardisation else opened.model
    except GalleryError:
        if not create:
            raise
        return installed_by_default()
    for model in installed_models().values():
        if model.about.fingerprint == network.fingerprint:
            return _chosen(model)
    raise ConfigError(
        f"No run is given, and the model of the gallery '{gallery}' ({network.fingerprint}) is not"
        f" an installed one; expected its run folder as --run; {name_installed()}."
    )


def installed_by_default() -> Path:
    """The folder of the default model, which is logged.

    Raises:
        ConfigError: It is not installed.
    """
    return _chosen(default_model())


def _chosen(model: InstalledModel) -> Path:
    log(f"No run is given: using the installed model '{model.name}' ({model.about.fingerprint}).")
    return model.path


def list_labelled(
    sources: Sequence[str],
    pattern: str,
    *,
    modality: Modality | None = None,
    camera: str = "",
    videos: bool = True,
) -> list[ImageInfo]:
    """List images with what a pattern reads from their paths.

    Args:
        sources: Files, folders, patterns and manifests.
        pattern: The value of --pattern; empty for none.
        modality: Modality where neither manifest nor pattern gives one.
        camera: Camera likewise.
        videos: Whether to log that videos are left out.

    Raises:
        VireidError: As :func:`~vireid.data.listing.list_images`, or the pattern is invalid.
    """
    if pattern == AUTO:
        ends = ["/".join(info.path.parts[-4:]) for info in list_images(sources)]
        pattern = guess_pattern(ends).pattern.rpartition("**/")[2]
    read = PathPattern(pattern) if pattern else None
    return list_images(sources, modality=modality, camera=camera, pattern=read, videos=videos)


def load_for_gallery(
    run: Path | None,
    gallery: str,
    *,
    device: Device | None,
    tone_mapping: str = "",
    create: bool = False,
) -> FeatureExtractor:
    """Load a model that reads images, and standardises features, as those of a gallery.

    Args:
        run: As for :func:`model_for_gallery`.
        gallery: The gallery, which need not exist yet.
        device: The device; the one used for training by default.
        tone_mapping: The tone mapping; by default the gallery's, in a new gallery the run's.
        create: As for :func:`model_for_gallery`.

    Raises:
        VireidError: The model cannot be loaded.
    """
    # Imported here because torch takes seconds, and other commands do without.
    from vireid.features import load

    model = model_for_gallery(run, gallery, create=create)
    standardisation = None
    # What is wrong with the gallery is said when it is opened for use.
    with contextlib.suppress(GalleryError), open_gallery(gallery) as opened:
        tone_mapping = tone_mapping or str(ToneMapping.named_in(opened.model.about))
        standardisation = opened.standardisation
    extractor = load(model, device=device, tone_mapping=tone_mapping)
    return extractor.standardised(standardisation) if standardisation else extractor


def print_converted(remarks: Mapping[str, int]) -> None:
    """Print how many images were converted, and how."""
    for remark, number in remarks.items():
        echo(f"{many(number, 'image')} {remark}.")


def print_detected(detected: Mapping[Modality, int]) -> None:
    """Print how many images had their modality detected, if any."""
    if sum(detected.values()):
        echo(f"{describe_guesses(detected)} Override with --modality or in a manifest.")


def print_skipped(bad: Sequence[str]) -> None:
    """Print the fault of each image that was skipped, if any."""
    if bad:
        echo(f"{many(len(bad), 'image was', 'images were')} skipped:")
        echo("\n".join(f"  {printable(fault)}" for fault in bad))
