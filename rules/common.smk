# What the rules share: paths of the whole preset, and functions that name a rule's inputs.

# The resolved preset; written when a run starts (tracking.smk), and no rule's input.
PRESET = str(layout.home / "preset.json")
KEY = planning.RunKey("{model}", "{dataset}", "{method}", "{seed}")
# Used with --sdm conda only. A file and not a name: Snakemake asks conda for what a named
# environment holds, even where conda is not used.
ENVIRONMENT = "../envs/local.yaml"


def results_of(names):
    """Tables and figures of some experiments."""
    drawn = [figure for figure, experiment in figures.items() if experiment in names]
    tables = [f"results/{name}.csv" for name in names]
    return tables + [f"results/figures/{figure}.png" for figure in drawn]


def warmup_tables(wildcards):
    """Prompt tables that a model's warm-up reads."""
    used = planning.model_slice(preset, wildcards.model)["warmup_data"]
    return [str(layout.split(name, "warmup")) for name in used]


def walked(wildcards):
    """The order or the difficulties that a method's curriculum walks."""
    method = preset.methods[wildcards.method]
    where = (wildcards.model, wildcards.dataset)
    found = [layout.order(*where, method.order)] if method.order else []
    if method.difficulty == "measured":
        found.append(layout.signals(*where) / "difficulty.parquet")
    return [str(path) for path in found]


def benchmarks_of(wildcards):
    """The benchmarks that a run's checkpoints are tested on."""
    return planning.benchmarks_of(preset, wildcards.model, wildcards.dataset, wildcards.method)


def finished(experiment):
    """done.json of every run of an experiment."""
    return [str(layout.run(key) / "done.json") for key in planning.runs(preset, [experiment])]
