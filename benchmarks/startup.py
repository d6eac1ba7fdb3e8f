"""What a step costs before it does anything: processor time and memory of `--help`, in ratio to `import numpy`.

    .venv/bin/python -m benchmarks.startup

Each command runs several times; the least of each figure counts, since other work on the machine only adds to it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPEATS = 3


def cost(*arguments: str) -> tuple[float, float]:
    """Least processor seconds and peak MB of a Python process over some runs."""
    runs = []
    for _ in range(REPEATS):
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.DEVNULL, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(arguments)} ended with {process.returncode}")
        runs.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
    return min(seconds for seconds, _ in runs), min(memory for _, memory in runs)


def main() -> None:
    """Print a Markdown table of all steps."""
    numpy_seconds, numpy_memory = cost("-c", "import numpy")
    torch_seconds, torch_memory = cost("-c", "import torch, timm")
    print("| command | processor time, s | times `import numpy` | peak memory, MB |\n| --- | ---: | ---: | ---: |")
    print(f"| `import numpy` | {numpy_seconds:.2f} | 1.0 | {numpy_memory:.0f} |")
    print(f"| `import torch, timm` | {torch_seconds:.2f} | {torch_seconds / numpy_seconds:.1f} | {torch_memory:.0f} |")
    rules = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    for module in sorted(set(re.findall(r'code_digest\("(stages[\w.]+)"\)', rules))):
        seconds, memory = cost("-m", module, "--help")
        print(f"| `{module} --help` | {seconds:.2f} | {seconds / numpy_seconds:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
