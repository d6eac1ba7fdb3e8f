#!/usr/bin/env bash
# All that wants a GPU to be measured, in ten minutes, on a machine with one GPU and Python with torch, timm and torchvision:
#
#   benchmarks/gpu.sh --output gpu.json --table benchmarks/gpu.md
#
# No network is used. Packages that are missing there are installed from wheels, into a throw-away environment that sees
# those of the machine:
#
#   benchmarks/gpu.sh --wheels FOLDER ...
#
# A machine with a network makes that folder, for the same system and Python (3.11 here):
#
#   pip download --no-deps -d FOLDER -c constraints.txt -r benchmarks/gpu/packages.txt
#
# PYTHON names the interpreter (python3). All other words go to `python -m benchmarks.gpu`, see its --help.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheels=
words=()
while (($#)); do
    case $1 in
        --wheels)
            (($# > 1)) || { echo "--wheels needs a folder of wheels" >&2; exit 2; }
            wheels=$2
            shift 2
            ;;
        *)
            words+=("$1")
            shift
            ;;
    esac
done
command -v "$python" > /dev/null || { echo "there is no $python; let PYTHON name an interpreter" >&2; exit 2; }
if [[ -n $wheels && ! -d $wheels ]]; then
    echo "there is no folder $wheels; make it with: pip download --no-deps -d FOLDER -c constraints.txt -r benchmarks/gpu/packages.txt" >&2
    exit 2
fi
listed=$("$python" benchmarks/gpu/missing.py benchmarks/gpu/packages.txt) || exit 2
if [[ -n $listed ]]; then
    mapfile -t missing <<< "$listed"
    if [[ -z $wheels ]]; then
        echo "$python lacks ${missing[*]}; install them, or give --wheels FOLDER" >&2
        exit 2
    fi
    environment=$(mktemp -d)
    trap 'rm -rf "$environment"' EXIT
    "$python" -m venv --system-site-packages "$environment"
    python=$environment/bin/python
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --find-links "$wheels" "${missing[@]}"
fi
"$python" -m benchmarks.gpu "${words[@]}"
