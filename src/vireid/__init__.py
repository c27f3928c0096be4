"""Visible-infrared person re-identification: DLIS with PALM, and all that stands around it.

Example:
    >>> import vireid
    >>> encoder = vireid.load(Path("runs/dlis"))  # doctest: +SKIP
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from vireid.errors import VireidError
from vireid.types import CrossModalBatch, Descriptors, ImageRecord, Modality

if TYPE_CHECKING:
    from vireid.encoder import Encoder, load

__version__ = version("vireid")

__all__ = [
    "CrossModalBatch",
    "Descriptors",
    "Encoder",
    "ImageRecord",
    "Modality",
    "VireidError",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and the processes that render SynVI do without it.
    if name in ("Encoder", "load"):
        from vireid import encoder

        return getattr(encoder, name)
    raise AttributeError(f"module 'vireid' has no attribute '{name}'")
