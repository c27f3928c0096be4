"""Torch modules that depend on no data set and no loss."""

from vireid.nn.backbone import BACKBONES, STAGES, BackboneName, build_stages
from vireid.nn.convolution import use_fast_convolutions
from vireid.nn.folding import fold_batch_norms
from vireid.nn.input_channels import set_input_channels
from vireid.nn.modality_classifier import ModalityClassifier
from vireid.nn.non_local import NonLocal, with_non_local
from vireid.nn.palm import PALM, record_attention
from vireid.nn.pooling import GeM, StripePool
from vireid.nn.stripes import StripeHeads, join_stripes
from vireid.nn.translator import PatchDiscriminator, Translator
from vireid.nn.two_stream import TwoStream
from vireid.nn.weights import read_weights

__all__ = [
    "BACKBONES",
    "PALM",
    "STAGES",
    "BackboneName",
    "GeM",
    "ModalityClassifier",
    "NonLocal",
    "PatchDiscriminator",
    "StripeHeads",
    "StripePool",
    "Translator",
    "TwoStream",
    "build_stages",
    "fold_batch_norms",
    "join_stripes",
    "read_weights",
    "record_attention",
    "set_input_channels",
    "use_fast_convolutions",
    "with_non_local",
]
