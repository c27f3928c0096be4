"""The options of commands that extract features of images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vireid.cli._flags import Switch
from vireid.data.inspection import describe_guesses
from vireid.data.layouts._common import many
from vireid.data.listing import list_images
from vireid.errors import ConfigError, ImageError
from vireid.log import printable
from vireid.types import Device, ImageInfo, Modality

__all__ = ["DEFAULT_IMAGE_OPTIONS", "ImageOptions", "print_detected", "print_skipped"]


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Options for the images."""

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
                f"--camera {self.camera!a} is not UTF-8; expected a name that is,"
                " because feature files and galleries store UTF-8."
            ) from None

    def list(self, sources: Sequence[str]) -> list[ImageInfo]:
        """List the images.

        Args:
            sources: Files, folders, patterns and manifests.

        Raises:
            VireidError: As :func:`~vireid.data.listing.list_images`.
        """
        modality = Modality(self.modality) if self.modality else None
        return list_images(sources, modality=modality, camera=self.camera)

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


def print_detected(detected: Mapping[Modality, int]) -> None:
    """Print how many images had their modality detected, if any."""
    if sum(detected.values()):
        print(f"{describe_guesses(detected)} Override with --modality or in a manifest.")


def print_skipped(bad: Sequence[str]) -> None:
    """Print the fault of each image that was skipped, if any."""
    if bad:
        print(f"{many(len(bad), 'image was', 'images were')} skipped:")
        print("\n".join(f"  {printable(fault)}" for fault in bad))
