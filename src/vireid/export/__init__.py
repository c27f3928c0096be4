"""Export of networks to ONNX and OpenVINO, preprocessing included."""

from vireid.export.images import ExportImages, images_listed, images_of_run
from vireid.export.writing import check_options, export_run, write_graphs

__all__ = [
    "ExportImages",
    "check_options",
    "export_run",
    "images_listed",
    "images_of_run",
    "write_graphs",
]
