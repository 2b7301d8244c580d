#!/usr/bin/env bash
# Builds one of verl's environments: envs/build-verl.sh auto|cuda|cu129|cpu FOLDER [PIP'S OPTIONS]
# auto goes by the driver of this machine: CUDA 13 (verl-cuda.txt) or CUDA 12.9 (verl-cu129.txt).
# FLASH_ATTN, where the list has flash-attn: a wheel's URL or path, `source` (nvcc, about an hour), or
# `none`. The lists are complete, so nothing is resolved: --no-deps keeps out what they leave out.
set -euo pipefail
kind=$1 folder=$2 here=$(dirname "$0")
die() { echo "build-verl.sh: $*" >&2; exit 1; }

if [[ $kind == auto ]]; then
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1) || true
    case ${driver%%.*} in
        '') die "no nvidia-smi here to ask for the driver: say verl.environment: cuda (driver 580 and" \
            "later) or cu129 (525 to 579); on a GPU node, nvidia-smi names it" ;;
        *[!0-9]*) die "nvidia-smi names no driver here: $driver" ;;
    esac
    if ((${driver%%.*} >= 580)); then
        kind=cuda
    elif ((${driver%%.*} >= 525)); then
        kind=cu129
    else
        die "driver $driver is too old for CUDA 12.9, which needs 525: have it renewed"
    fi
    echo "driver $driver: envs/verl-$kind.txt"
fi

list="$here/verl-$kind.txt"
flash=$(grep '^flash-attn==' "$list") || true
if [[ -n $flash && -z ${FLASH_ATTN:-} ]]; then
    die "FLASH_ATTN is not set: a wheel's URL or path (docs/cluster.md has some), source, or none"
fi
python3 -m venv --clear "$folder"
install() { "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$@"; }
# torch first and exactly: some of the rest look at it while they are built.
install "${@:3}" "$(grep '^torch==' "$list")"
install "${@:3}" --requirement <(grep -v '^flash-attn==' "$list")
case ${flash:+$FLASH_ATTN} in
    '' | none) ;;
    source) install "${@:3}" --no-build-isolation "$flash" ;;
    *) install "$FLASH_ATTN" ;;
esac
install "${@:3}" --editable "$here/.."
"$folder/bin/python" -c "import verl, vllm, gainrl"
echo "$kind" >"$folder/kind"
