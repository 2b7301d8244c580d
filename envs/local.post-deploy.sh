#!/usr/bin/env bash
# Snakemake runs this inside the new environment, from the root of the repository.
set -euo pipefail
python -m pip install --quiet "$(grep '^torch==' envs/local.txt)"
python -m pip install --quiet --requirement envs/local.txt
python -m pip install --quiet --no-deps --editable .
