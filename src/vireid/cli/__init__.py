"""The command line: one file per command; a command is a typed function, usable from Python too."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any

from vireid.distributed.waiting import wait_passively
from vireid.errors import VireidError, describe_os_error
from vireid.log import printable

if TYPE_CHECKING:
    from tyro.extras import SubcommandApp

__all__ = ["COMMANDS", "main", "run_app"]

COMMANDS: Mapping[str, str] = {
    "demo": "Render synthetic people, train DLIS on them, evaluate it, and write a report.",
    "synvi": "Render SynVI: synthetic people in the layout of SYSU-MM01 or RegDB.",
    "difficulty": "Evaluate non-learned baselines on a SynVI tree.",
    "check": "Check the layout of a data set and the integrity of its images.",
    "methods": "List the methods: paper, backbone, input, feature, parameters, GFLOPs.",
    "models": "List the installed models, which need no training.",
    "train": "Train a recipe, or --resume a run.",
    "adapt": "Adapt a network to unlabelled images of one's own cameras.",
    "evaluate": "Evaluate runs under the published protocol of their data set, or of another.",
    "ablate": "Train variants of a recipe and tabulate their results.",
    "compare": "Compare two evaluated runs by a paired bootstrap over identities.",
    "leaderboard": "Rank evaluated runs; only comparable results share a table.",
    "score": "Score features computed by another network; no image is read.",
    "detect": "Find the people in videos, frames and streams; write their best crops.",
    "encode": "Extract features with a trained model into a file or a folder of shards.",
    "export": "Export a trained model to ONNX or OpenVINO, preprocessing included.",
    "gallery": "Add images to a gallery, search it, and maintain it.",
    "watch": "Add what arrives in folders and streams to a gallery; report matches.",
    "serve": "Serve a gallery as a web page and a REST API.",
}
"""The commands and their summaries: the first line of the docstring, where a command is one
function."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: The arguments after ``vireid``; those of the process by default.

    Returns:
        The exit status: 0; 1 if `check` found a fault; 2 after an error that the user can fix; 130
        after Ctrl-C; 141 if the reader of the output closed it.
    """
    wait_passively()
    # Of metadata that cost no pixel; `check` reports those that are needed.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    plugins, words = _split_plugins(sys.argv[1:] if args is None else args)
    if words and words[0] in _POSITIONALS:
        words = _with_positionals(words)
    return run_app(
        lambda: _app(words),
        words,
        plugins,
        prog="vireid",
        description=(
            "Visible-infrared person re-identification: DLIS with PALM. Start with "
            "`vireid demo`. Run any command with --help for its options. Any command takes "
            "--plugin FILE.py, once or several times: methods, layouts and other parts of your own."
        ),
    )


_POSITIONALS = {
    "check": ("layout", "root"),
    **dict.fromkeys(("evaluate", "export"), ("run",)),
}
"""What these commands take by position, and others by flags of these names."""


def _split_plugins(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The values of --plugin, and all other arguments."""
    parser = argparse.ArgumentParser(prog="vireid", add_help=False, allow_abbrev=False)
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE.py")
    known, rest = parser.parse_known_args(words)
    return known.plugin, rest


def _with_positionals(words: Sequence[str]) -> list[str]:
    """The arguments with the values of such flags where the command expects them."""
    command, first = words[0], _POSITIONALS[words[0]][0]
    parser = argparse.ArgumentParser(prog=f"vireid {command}", add_help=False, allow_abbrev=False)
    for name in _POSITIONALS[command]:
        parser.add_argument(f"--{name}", action="append", default=[])
    flags, rest = parser.parse_known_args(words[1:])
    return [command, *getattr(flags, first), *rest, *getattr(flags, "root", [])]


def run_app(
    build: Callable[[], SubcommandApp],
    args: Sequence[str] | None,
    plugins: Sequence[str] = (),
    *,
    prog: str,
    description: str,
) -> int:
    """Parse arguments, run the command they name, and convert errors to an exit status.

    Every error of the user's making, Ctrl-C and a failing standard output included, ends in one
    line on standard error.

    Args:
        build: Returns the commands.
        args: The arguments; those of the process by default.
        plugins: Files of plugins.
        prog: Name of the program.
        description: Description in the program's help.

    Returns:
        The exit status, as :func:`main` returns it.
    """
    _prepare_streams()
    _prepare_interrupt()
    status, left = 0, None
    try:
        import tyro

        from vireid.plugins import using

        with using(plugins):
            result = build().cli(
                prog=prog, description=description, args=args, config=(tyro.conf.OmitArgPrefixes,)
            )
        status = getattr(result, "exit_status", 0)
    except VireidError as error:
        status = _fail(prog, str(error), status=2)
    except KeyboardInterrupt as error:
        status = _fail(prog, f"interrupted; {str(error) or _KEPT}", status=128 + signal.SIGINT)
    except OSError as error:
        status = _fail_by(prog, error)
    except SystemExit as error:
        left = error
    try:
        sys.stdout.flush()
    except OSError as error:
        # Without this, python reports the error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        left, status = None, status or _fail_by(prog, error)
    if left is not None:
        raise left
    return status


_KEPT = "finished files are kept and none is half-written: run the same command again."


def _fail(prog: str, problem: str, *, status: int) -> int:
    """Print a problem as one line on standard error, and return the status."""
    with contextlib.suppress(OSError):
        print(f"{prog}: {printable(' '.join(problem.splitlines()))}", file=sys.stderr)
    return status


def _prepare_streams() -> None:
    """Let any text be printed, whatever the encoding of the streams, and where one is closed."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


_LOCKING = (threading.Condition.__enter__.__code__, threading.Condition.__exit__.__code__)


def _prepare_interrupt() -> None:
    """Let Ctrl-C never leave a lock held, for which worker threads would then wait for ever.

    Python's own handler may raise KeyboardInterrupt in a condition's ``__enter__`` when its lock is
    acquired already, and then nothing releases it.
    """
    main = threading.main_thread().ident
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or main is None or threading.get_ident() != main:
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_code not in _LOCKING:
            raise KeyboardInterrupt
        threading.Timer(0.01, signal.pthread_kill, (main, number)).start()

    signal.signal(signal.SIGINT, handle)


def _fail_by(prog: str, error: OSError) -> int:
    """Print what could not be read or written, and how to fix it, and return the status."""
    if isinstance(error, BrokenPipeError):  # the reader of the output (`| head`) has stopped
        return 128 + signal.SIGPIPE
    # The output is the one file that is written to without a name.
    problem = describe_os_error(error, "standard output")
    return _fail(prog, f"{problem} and run the same command again.", status=2)


def _app(words: Sequence[str]) -> SubcommandApp:
    """All commands; only the module of the given one is imported, since torch takes seconds."""
    # Imported here because the processes that render SynVI import this module and do not need it.
    from tyro.extras import SubcommandApp

    if words[:1] == ["train"]:
        # Else tyro would take them for options of the default, --resume.
        import_module("vireid.cli.train").require_recipe(words[1:])
    app = SubcommandApp()
    for name, summary in COMMANDS.items():
        command: Any = _command(name) if name in words[:1] else _placeholder
        in_full = command is not _placeholder and not isinstance(command, SubcommandApp)
        app.command(command, name=name, help=None if in_full else summary)
    return app


def _command(name: str) -> Any:
    """The function of a command, or the app of its sub-commands."""
    module = import_module(f"vireid.cli.{name}")
    return module.app() if hasattr(module, "app") else getattr(module, name)


def _placeholder() -> None:
    """Placeholder for all other commands."""
