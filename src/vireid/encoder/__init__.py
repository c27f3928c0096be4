"""From images to descriptors."""

from vireid.encoder.described import Described, describe_bytes, describe_images
from vireid.encoder.describer import Describer, TorchDescriber
from vireid.encoder.encoder import Encoder, load
from vireid.encoder.together import encode_together, own_records

__all__ = [
    "Described",
    "Describer",
    "Encoder",
    "TorchDescriber",
    "describe_bytes",
    "describe_images",
    "encode_together",
    "load",
    "own_records",
]
