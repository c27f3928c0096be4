"""Galleries: features of images with their metadata, searched across modalities."""

from vireid.gallery.filters import EVERYTHING, Filters, Hit
from vireid.gallery.gallery import (
    BATCH,
    EDITABLE,
    EXACT_UP_TO,
    Added,
    Gallery,
    Info,
    is_gallery,
    open_gallery,
)
from vireid.gallery.options import CollectionOptions, ServerOptions
from vireid.gallery.saved import SavedSearch
from vireid.gallery.store import Field
from vireid.gallery.verification import Verification

__all__ = [
    "BATCH",
    "EDITABLE",
    "EVERYTHING",
    "EXACT_UP_TO",
    "Added",
    "CollectionOptions",
    "Field",
    "Filters",
    "Gallery",
    "Hit",
    "Info",
    "SavedSearch",
    "ServerOptions",
    "Verification",
    "is_gallery",
    "open_gallery",
]
