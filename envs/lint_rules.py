"""Runs `snakemake --lint`; exits with 1 where it finds what is not switched off here, each with its reason."""

import subprocess
import sys
from pathlib import Path

SWITCHED_OFF = {
    # A rule's input function stands above the rule that it serves. What is longer is tested Python in stages/project.
    "Mixed rules and functions in same snakefile.",
}


def findings() -> list[str]:
    """What the linter says, one line each, without what is switched off."""
    command = [sys.executable, "-m", "snakemake", "--lint"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    text = done.stdout + done.stderr
    if done.returncode and "Lints for" not in text:
        sys.exit(f"snakemake --lint gave no report:\n{text}")
    found, place = [], ""
    for line in text.splitlines():
        place = line.strip() if line.startswith("Lints for") else place
        title = line.strip().removeprefix("* ").removesuffix(":")
        if line.startswith("    * ") and title not in SWITCHED_OFF:
            found.append(f"{place} {title}")
    return found


if __name__ == "__main__":
    lines = findings()
    print("\n".join(lines) or "snakemake --lint: nothing beside what envs/lint_rules.py switches off")
    sys.exit(1 if lines else 0)
