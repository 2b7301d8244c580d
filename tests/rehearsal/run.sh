#!/usr/bin/env bash
# The whole of experiments/rehearsal-cpu.yaml on a one-node SLURM with pretend GPUs: hours on two cores.
# Debian, as root. Called again, it goes on. Arguments are Snakemake's; JOBS run at a time.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=$(mktemp -d /tmp/gainrl-slurm-XXXXXX)
trap 'tests/slurm/cluster.sh stop "$place"; rm -rf "$place"' EXIT
[[ -e results/rehearsal-inputs/preset.yaml ]] || .environments/verl-cpu/bin/python tests/rehearsal/inputs.py
eval "$(tests/slurm/cluster.sh start "$place")"
export GAINRL_DATA_DIR=$PWD/results/rehearsal-inputs/data HF_HUB_OFFLINE=1
snakemake rehearse --profile slurm --configfile results/rehearsal-inputs/preset.yaml \
  --slurm-status-command=squeue --slurm-init-seconds-before-status-checks=2 --latency-wait=10 \
  --jobs="${JOBS:-2}" --quiet rules "$@"
