"""From images to descriptors."""

from vireid.encoder.encoder import Encoder, load

__all__ = ["Encoder", "load"]
