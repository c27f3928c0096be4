"""From images to descriptors."""

from vireid.encoder.described import Described, describe_bytes, describe_images
from vireid.encoder.encoder import Encoder, load

__all__ = ["Described", "Encoder", "describe_bytes", "describe_images", "load"]
