"""The command line: one file per command; a command is a typed function, usable from Python too."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vireid.distributed.waiting import wait_passively
from vireid.errors import VireidError

if TYPE_CHECKING:
    from tyro.extras import SubcommandApp

__all__ = ["COMMANDS", "main", "run_app"]

COMMANDS: Mapping[str, str] = {
    "demo": "Render synthetic people, train DLIS on them, evaluate it, and write a report.",
    "synvi": "Render SynVI: synthetic people in the layout of SYSU-MM01 or RegDB.",
    "difficulty": "Evaluate non-learned baselines on a SynVI tree.",
    "check": "Check the layout of a data set and the integrity of its images.",
    "methods": "List the methods: paper, backbone, input, feature, parameters, GFLOPs.",
    "train": "Train a recipe, or --resume a run.",
    "evaluate": "Evaluate runs under the published protocol of their data set.",
    "ablate": "Train variants of a recipe and tabulate their results.",
    "compare": "Compare two evaluated runs by a paired bootstrap over identities.",
    "leaderboard": "Rank evaluated runs; only comparable results share a table.",
    "score": "Score features computed by another network; no image is read.",
    "encode": "Extract features with a trained model into a file or a folder of shards.",
    "export": "Export a trained model to ONNX or OpenVINO, preprocessing included.",
    "gallery": "Add images to a gallery, search it, and maintain it.",
    "serve": "Serve a gallery as a web page and a REST API.",
}
"""The commands and their summaries: the first line of the docstring, where a command is one
function."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: The arguments after ``vireid``; those of the process by default.

    Returns:
        The exit status: 0; 1 if `check` found a fault; 2 after an error that the user can fix;
        141 if the reader of the output closed it.
    """
    wait_passively()
    # Of metadata that cost no pixel; `check` reports those that are needed.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    words = sys.argv[1:] if args is None else args
    # Imported here because the processes that render SynVI import this module and do not need it.
    from tyro.extras import SubcommandApp

    app = SubcommandApp()
    for name, summary in COMMANDS.items():
        # Importing torch takes seconds: import only the module of the given command.
        command: Any = _command(name) if name in words[:1] else _placeholder
        in_full = command is not _placeholder and not isinstance(command, SubcommandApp)
        app.command(command, name=name, help=None if in_full else summary)
    return run_app(
        app,
        words,
        prog="vireid",
        description=(
            "Visible-infrared person re-identification: DLIS with PALM. Start with "
            "`vireid demo`. Run any command with --help for its options."
        ),
    )


def run_app(app: SubcommandApp, args: Sequence[str] | None, *, prog: str, description: str) -> int:
    """Parse arguments, run the command they name, and convert errors to an exit status.

    Args:
        app: The commands.
        args: The arguments; those of the process by default.
        prog: Name of the program.
        description: Description in the program's help.

    Returns:
        The exit status, as :func:`main` returns it.
    """
    import tyro

    try:
        result = app.cli(
            prog=prog,
            description=description,
            args=args,
            config=(tyro.conf.OmitArgPrefixes,),
        )
        sys.stdout.flush()
    except VireidError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (`| head`) has stopped; without this python reports the error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return getattr(result, "exit_status", 0)


def _command(name: str) -> Any:
    """The function of a command, or the app of its sub-commands."""
    module = import_module(f"vireid.cli.{name}")
    return module.app() if hasattr(module, "app") else getattr(module, name)


def _placeholder() -> None:
    """Placeholder for all other commands."""
