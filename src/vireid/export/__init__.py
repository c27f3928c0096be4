"""Networks for other runtimes: ONNX and OpenVINO, with all preprocessing inside."""

from vireid.export.images import Pictures, pictures_listed, pictures_of_run
from vireid.export.writing import check_options, export_run, write_graphs

__all__ = [
    "Pictures",
    "check_options",
    "export_run",
    "pictures_listed",
    "pictures_of_run",
    "write_graphs",
]
