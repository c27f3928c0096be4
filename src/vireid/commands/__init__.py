"""The command line: one file a verb, and a verb is a typed function that is also the Python API."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from vireid.errors import VireidError

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        args: The words after ``vireid``; those of the process by default.

    Returns:
        The exit status: 0; 1 where `check` found a fault; 2 after an error that the user can mend;
        141 where whoever reads the output stopped reading.
    """
    # Here and not above: the processes that render SynVI import this module and need none of it.
    import tyro
    from tyro.extras import SubcommandApp

    from vireid.commands import (
        ablate,
        bench,
        check,
        compare,
        demo,
        difficulty,
        encode,
        evaluate,
        export,
        gallery,
        leaderboard,
        methods,
        score,
        serve,
        synvi,
        train,
    )
    from vireid.data.check import CheckReport

    app = SubcommandApp()
    app.command(demo.demo)
    app.command(synvi.synvi)
    app.command(difficulty.difficulty)
    app.command(check.check)
    app.command(methods.methods)
    app.command(
        train.app(), name="train", help="Train a recipe into a run folder, or --resume one."
    )
    app.command(evaluate.evaluate)
    app.command(
        ablate.app(), name="ablate", help="Train variants of a recipe, and make one table of them."
    )
    app.command(compare.compare)
    app.command(leaderboard.leaderboard)
    app.command(score.score)
    app.command(encode.encode)
    app.command(export.export)
    app.command(
        gallery.app(),
        name="gallery",
        help="Add images to a gallery, search it, keep it in order, forget people.",
    )
    app.command(serve.serve)
    app.command(bench.app(), name="bench", help="How fast a part is, beside a plain reference.")
    try:
        found = app.cli(
            prog="vireid",
            description=(
                "Visible-infrared person re-identification: DLIS with PALM. Start with "
                "`vireid demo`; every verb explains itself with --help."
            ),
            args=args,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        sys.stdout.flush()
    except VireidError as error:
        print(f"vireid: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return found.exit_status if isinstance(found, CheckReport) else 0
