"""Galleries: features with what is known of their images, searched across modalities."""

from vireid.gallery.entry import EVERYTHING, Entry, Filters, Hit, Model, Row, id_of
from vireid.gallery.gallery import (
    BATCH,
    EXACT_UP_TO,
    Added,
    Gallery,
    Info,
    open_gallery,
)
from vireid.gallery.options import ServerOptions
from vireid.gallery.store import Field
from vireid.gallery.verification import Verification

__all__ = [
    "BATCH",
    "EVERYTHING",
    "EXACT_UP_TO",
    "Added",
    "Entry",
    "Field",
    "Filters",
    "Gallery",
    "Hit",
    "Info",
    "Model",
    "Row",
    "ServerOptions",
    "Verification",
    "id_of",
    "open_gallery",
]
