"""The packages of tests/plugins, as pip installs them."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def install(name: str, folder: Path) -> None:
    """Copy a package with its metadata into a folder for ``sys.path``.

    Args:
        name: Folder of the project.
        folder: The folder.
    """
    project = tomllib.loads((HERE / name / "pyproject.toml").read_text())["project"]
    shutil.copytree(HERE / name / "src", folder, dirs_exist_ok=True)
    info = folder / f"{project['name'].replace('-', '_')}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"]
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items())
            for group, points in groups.items()
        )
    )
