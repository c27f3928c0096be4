"""The command line: one file a verb, and a verb is a typed function that is also the Python API."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vireid.distributed.waiting import wait_passively
from vireid.errors import VireidError

if TYPE_CHECKING:
    from tyro.extras import SubcommandApp

__all__ = ["VERBS", "main", "run_app"]

VERBS: Mapping[str, str] = {
    "demo": "Render synthetic people, train DLIS and TSLFN on them, evaluate, and write a report.",
    "synvi": "Render SynVI, synthetic people in the exact layout of SYSU-MM01 or RegDB.",
    "difficulty": "How near to chance matching without learning stays on a SynVI tree.",
    "check": "Say whether a data set is laid out as published and whether its images are whole.",
    "methods": "List the methods: paper, backbone, input, feature, parameters, GFLOPs.",
    "train": "Train a recipe into a run folder, or --resume one.",
    "evaluate": "Evaluate runs under the published protocol of their data set.",
    "ablate": "Train variants of a recipe, and make one table of them.",
    "compare": "Compare two evaluated runs by a paired bootstrap over identities.",
    "leaderboard": "Put evaluated runs side by side, one table for all that may be compared.",
    "score": "Score features that your own network computed; no image is read.",
    "encode": (
        "Describe images by a trained network, into a file of features or a folder of such files."
    ),
    "export": "Export a trained network to ONNX or OpenVINO, with all preprocessing inside.",
    "gallery": "Add images to a gallery, search it, keep it in order, forget people.",
    "serve": "Serve a gallery as a page and a REST interface, until Ctrl-C or SIGTERM.",
}
"""Every verb and what it is for: the first line of its function, where it is one function."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        args: The words after ``vireid``; those of the process by default.

    Returns:
        The exit status: 0; 1 where `check` found a fault; 2 after an error that the user can mend;
        141 where whoever reads the output stopped reading.
    """
    wait_passively()
    words = sys.argv[1:] if args is None else args
    # Here and not above: the processes that render SynVI import this module and need none of it.
    from tyro.extras import SubcommandApp

    app = SubcommandApp()
    for name, summary in VERBS.items():
        # torch takes seconds to import; only the verb that was asked for is.
        verb: Any = _verb(name) if name in words[:1] else _no_verb
        in_full = verb is not _no_verb and not isinstance(verb, SubcommandApp)
        app.command(verb, name=name, help=None if in_full else summary)
    return run_app(
        app,
        words,
        prog="vireid",
        description=(
            "Visible-infrared person re-identification: DLIS with PALM. Start with "
            "`vireid demo`; run any command with --help for its options."
        ),
    )


def run_app(app: SubcommandApp, args: Sequence[str] | None, *, prog: str, description: str) -> int:
    """Parse arguments, run the command they name, and turn its errors into an exit status.

    Args:
        app: The commands.
        args: The arguments; those of the process by default.
        prog: Name of the program, for its help.
        description: What the program is for, for its help.

    Returns:
        The exit status, as :func:`main` returns it.
    """
    import tyro

    try:
        found = app.cli(
            prog=prog,
            description=description,
            args=args,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        sys.stdout.flush()
    except VireidError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return getattr(found, "exit_status", 0)


def _verb(name: str) -> Any:
    """What a verb runs: the function of its name in its file, or the app of its own verbs."""
    module = import_module(f"vireid.cli.{name}")
    return module.app() if hasattr(module, "app") else getattr(module, name)


def _no_verb() -> None:
    """Stands for a verb that was not asked for."""
