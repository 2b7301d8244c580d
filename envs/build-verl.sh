#!/usr/bin/env bash
# Builds one of verl's environments: envs/build-verl.sh cuda|cpu FOLDER
# The lists are complete, so nothing is resolved: --no-deps keeps out what they leave out.
set -euo pipefail
list="$(dirname "$0")/verl-$1.txt"
python3 -m venv --clear "$2"
install() { "$2/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "${@:3}"; }
# torch first and exactly: some of the rest look at it while they are built.
install "$@" "$(grep '^torch==' "$list")"
install "$@" --requirement <(grep -v '^flash-attn==' "$list")
if grep -q '^flash-attn==' "$list"; then
    install "$@" --no-build-isolation "$(grep '^flash-attn==' "$list")"
fi
install "$@" --editable "$(dirname "$0")/.."
"$2/bin/python" -c "import verl, vllm, gainrl"
