"""Pure torch blocks, usable alone; they know no data set and no loss."""

from vireid.nn.backbone import BACKBONES, STAGES, BackboneName, build_stages
from vireid.nn.non_local import NonLocal, with_non_local
from vireid.nn.palm import PALM, record_attention
from vireid.nn.pooling import GeM, StripePool
from vireid.nn.stripes import StripeHeads
from vireid.nn.two_stream import TwoStream
from vireid.nn.weights import read_weights

__all__ = [
    "BACKBONES",
    "PALM",
    "STAGES",
    "BackboneName",
    "GeM",
    "NonLocal",
    "StripeHeads",
    "StripePool",
    "TwoStream",
    "build_stages",
    "read_weights",
    "record_attention",
    "with_non_local",
]
