"""Records of images, for comparison."""

from dataclasses import replace

from vireid.types import ImageInfo, IndexedImage


def as_listed(image: IndexedImage) -> ImageInfo:
    """What was known of an image before its file was read."""
    info = image.info
    modality = None if info.guessed else info.modality
    return replace(info, modality=modality, guessed=False, sha256="")
