"""The artifact lens on the command line: `python -m stages.inspection FILE [--image ID] [--draw PNG]`."""

import argparse
import os
import sys
from pathlib import Path

from stages.core.artifacts.records import MissingImage
from stages.inspection.lens.look import look


def main(arguments: list[str] | None = None) -> int:
    """Call `look` with the command line's arguments; an error that a user can mend is one sentence and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.inspection", description="Show what an artifact, weights or a JSON file of a run holds."
    )
    parser.add_argument("path", type=Path, metavar="FILE", help="an artifact (.h5), weights (.safetensors) or .json")
    parser.add_argument("--image", metavar="ID", help="the image to show and draw; without: the first")
    parser.add_argument("--draw", type=Path, metavar="PNG", help="draw the image's content")
    parser.add_argument("--images", type=Path, metavar="H5", help="images.h5 to draw on; without: found beside")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON for programs")
    parser.add_argument("--longer-side", type=_at_least(64, int), default=480, help="pixels of each drawn panel (480)")
    parser.add_argument("--most", type=_at_least(1, int), default=20, help="most objects drawn, best first (20)")
    parser.add_argument("--least-score", type=float, default=0.0, help="score from which predictions are drawn (0)")
    parser.add_argument("--opacity", type=_share, default=0.45, help="of painted regions, 0 to 1 (0.45)")
    values = vars(parser.parse_args(arguments))
    try:
        look(values.pop("path"), **values)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, MissingImage, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _at_least(least: int, kind: type) -> type:
    def read(text: str) -> int:
        value = kind(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more, found {text}")
        return value

    return read  # type: ignore[return-value]


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected 0 to 1, found {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
