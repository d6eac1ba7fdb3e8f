"""A process that plans one command of Snakemake after the other: to import Snakemake takes longer than to plan.

It reads lines of JSON, `{"folder": ..., "variables": {...}, "words": [...]}`, and answers each with a line: null where the
plan stands, else what Snakemake said. Nothing is executed: `-n` is added to every command.
"""

import json
import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from snakemake.cli import args_to_api, parse_args

ROOT = Path(__file__).parents[2]


def plan(words: list[str]) -> bool:
    parser, args = parse_args(["-s", str(ROOT / "Snakefile"), "--quiet", "-n", *words])
    return bool(args_to_api(args, parser))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    kept = dict(os.environ)
    for line in sys.stdin:
        asked = json.loads(line)
        os.chdir(asked["folder"])
        os.environ.update(asked["variables"])
        with tempfile.TemporaryFile("w+") as said, redirect_stdout(said), redirect_stderr(said):
            saved = os.dup(2)
            os.dup2(said.fileno(), 2)
            try:
                done = plan(asked["words"])
            except SystemExit as stop:
                done = stop.code in (0, None)
            finally:
                os.dup2(saved, 2)
                os.close(saved)
            said.seek(0)
            text = said.read()
        for name in set(os.environ) - set(kept):
            del os.environ[name]
        print(json.dumps(None if done else text or "no plan"), file=answers, flush=True)


if __name__ == "__main__":
    main()
