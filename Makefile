# make run: set up .venv and run the default experiment. make test: set up and pass the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PRESET ?= config.yaml
STAMP := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1

.PHONY: run all setup test test-verl test-trl test-slow test-slurm rehearsal lint docs ui bench bench-graders bench-curricula bench-coverage bench-architectures bench-pipeline bench-trainer reference clean

run: setup
	gainrl check --preset $(PRESET)
	snakemake --configfile $(PRESET) --logger gainrl

# Every job that ends starts another clock at which Snakemake looks at the ready jobs again: once a
# second each by default, which after a hundred jobs keeps a fifth of a core busy. The call ends with
# the last of these clocks, ten seconds late: too late for the profile, which every call reads.
all: setup
	snakemake all --configfile $(PRESET) --logger gainrl --max-jobs-per-timespan 1000/10s

setup: $(STAMP)

# torch comes first and exactly: a range would take a newer build with its CUDA packages.
$(STAMP): envs/local.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' envs/local.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/local.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(STAMP)

# On all cores, a process each; what measures seconds comes after, alone.
REST := not slow and not slurm and not verl and not trl
test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --no-loadscope-reorder \
		--durations=15 -m "not alone and $(REST)"
	$(BIN)/python -m pytest -m "alone and $(REST)"

VERL := .environments/verl-cpu/ready
$(VERL): $(STAMP) envs/verl-cpu.txt
	snakemake $@ --configfile $(PRESET) --quiet rules

# Ray, FSDP2 and vLLM on a CPU, in verl's own environment.
test-verl: $(VERL)
	$(BIN)/python -m pytest -m "verl and not slow" tests/verl

# Its own packages lie over those of .venv, which has torch and others in the same versions.
TRL := .environments/trl-cpu/ready
$(TRL): $(STAMP) envs/trl-cpu.txt
	$(PYTHON) -m venv --clear $(@D)
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> $$($(@D)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/shared.pth
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r envs/trl-cpu.txt
	touch $@

# GRPOTrainer of TRL on a CPU, in an environment of its own.
test-trl: setup $(TRL)
	$(BIN)/python -m pytest -m trl tests/trl

test-slow: $(VERL)
	$(BIN)/python -m pytest -m slow

# Installs and starts a one-node SLURM with pretend GPUs (Debian, root), and stops it again.
test-slurm: $(VERL)
	$(BIN)/python -m pytest -m "slurm and not slow" tests/slurm

# The paper's preset with small amounts, on random weights and that SLURM: hours.
rehearsal: $(VERL)
	tests/rehearsal/run.sh

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check workflow rules
	$(BIN)/mypy
	$(BIN)/lint-imports
	snakemake --lint --configfile config.yaml
	$(MAKE) docs

# docs/config.md and docs/preset.schema.json, from the docstrings in src/gainrl/config; docs/reference/ and
# tests/public.json, from those of the public pieces.
reference: setup
	$(BIN)/python -m gainrl.plan.reference

# The pages of docs/ as a site, in results/site.
docs: setup
	$(BIN)/mkdocs build --quiet --site-dir results/site

ui: setup
	gainrl ui --preset $(PRESET)

# Prefill scoring against the released way, on SmolLM2-135M-Instruct and GSM8K.
bench: setup
	TQDM_DISABLE=1 $(BIN)/python benchmarks/score.py

# Gold answers of the six maths sets in GAINRL_DATA_DIR, right and perturbed; programs a second.
bench-graders: setup
	$(BIN)/python benchmarks/grader.py
	$(BIN)/python benchmarks/code.py

# next_batch and observe of every policy: milliseconds and memory, up to ten million prompts.
bench-curricula: setup
	$(BIN)/python benchmarks/curricula.py

# How often intervals of few seeds cover, and how many verdicts are false: docs/statistics.md.
bench-coverage: setup
	$(BIN)/python benchmarks/coverage.py

# Tiny models of every type, beside a naive reference: how each is scored, trained and decoded.
bench-architectures: setup
	$(BIN)/python benchmarks/architectures.py

# Seconds of the command line, and until the DAG of a preset is there.
bench-pipeline: setup
	$(BIN)/python benchmarks/pipeline.py

# A GRPO step of the local trainer against TRL's, alternating, in TRL's environment.
bench-trainer: setup $(TRL)
	PYTHONPATH=src $(dir $(TRL))bin/python benchmarks/trainer.py

clean:
	rm -rf results .snakemake
