"""A layout: ``root/{train,test}/{rgb,ir}/<identity>_<number>.png``."""

from __future__ import annotations

from vireid.data.layouts import DataSource, Layout
from vireid.errors import DatasetError
from vireid.types import ImageRecord, Modality


class ToyLayout(Layout):
    """The layout."""

    name = "toy-pairs"

    def __init__(self, source: DataSource) -> None:
        self.root = source.root
        if not self.root.is_dir():
            raise DatasetError(f"'{self.root}' does not exist; expected a folder; correct --root.")

    def train(self) -> tuple[ImageRecord, ...]:
        """The training images."""
        return self._of("train")

    def test(self) -> tuple[ImageRecord, ...]:
        """The test images."""
        return self._of("test")

    def _of(self, split: str) -> tuple[ImageRecord, ...]:
        folders = {"rgb": Modality.VISIBLE, "ir": Modality.INFRARED}
        return tuple(
            ImageRecord(
                path=path,
                identity=int(path.name.split("_")[0]),
                camera=number,
                modality=modality,
            )
            for number, (folder, modality) in enumerate(folders.items(), 1)
            for path in sorted((self.root / split / folder).glob("*.png"))
        )
