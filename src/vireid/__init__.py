"""Visible-infrared person re-identification: DLIS with PALM, and all that stands around it.

Example:
    >>> import vireid
    >>> extractor = vireid.load("runs/dlis")  # doctest: +SKIP
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from vireid.errors import VireidError
from vireid.types import CrossModalBatch, Features, ImageRecord, Modality

if TYPE_CHECKING:
    from vireid.features import FeatureExtractor, load

__version__ = version("vireid")

__all__ = [
    "CrossModalBatch",
    "FeatureExtractor",
    "Features",
    "ImageRecord",
    "Modality",
    "VireidError",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and the processes that render SynVI do without it.
    if name in ("FeatureExtractor", "load"):
        from vireid import features

        return getattr(features, name)
    raise AttributeError(f"module 'vireid' has no attribute '{name}'")
