#!/usr/bin/env bash
# Debian's packages of Slurm, munge and task-spooler, where they are missing and root asks; no service is started.
set -euo pipefail
missing=()
for program in slurmctld:slurm-wlm munged:munge tsp:task-spooler; do
    command -v "${program%%:*}" > /dev/null || missing+=("${program##*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "install ${missing[*]} first: this takes root and a Debian system" >&2
    exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes -qq --no-install-recommends "${missing[@]}" > /dev/null
