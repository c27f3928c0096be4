"""Feature extraction: images to features."""

from vireid.features.distributed import local_records
from vireid.features.extract import ExtractedBatch, extract_from_bytes, extract_from_files
from vireid.features.extractor import FeatureExtractor, load
from vireid.features.torch_backend import FeatureBackend, TorchBackend

__all__ = [
    "ExtractedBatch",
    "FeatureBackend",
    "FeatureExtractor",
    "TorchBackend",
    "extract_from_bytes",
    "extract_from_files",
    "load",
    "local_records",
]
