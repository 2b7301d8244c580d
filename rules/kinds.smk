# What jobs ask for. A rule says which kind of job it is; how much a kind gets on a cluster stands in
# the profile, whose `set-resources` goes by kinds (slurm/config.yaml). Elsewhere GPUs alone are
# counted, for `--resources gpu=1`.
KINDS = {"cpu": {}, "gpu": {"gpu": 1, "nodes": 1}, "training": {}}
GROWING = ("runtime", "mem_mb")
# Of all jobs that could start, those that runs wait for come first, then the longest runs.
BEFORE_RUNS = 10**6
FIRST = 2 * BEFORE_RUNS  # what downloads: its errors are to come before anything has been computed


def needs(kind, **own):
    """Resources of a rule: its own, numbers or functions of the wildcards, and over them what the
    profile gives to its kind. Time and memory grow with each attempt, up to `max_runtime` and
    `max_mem_mb`."""
    declared = {**KINDS[kind], **own}
    given = workflow.resource_settings.overwrite_resources.get(kind, {})
    names = {*declared, *given} - {f"max_{name}" for name in GROWING}
    if "gpu_model" in names:
        names.add("slurm_extra")

    def part(name):
        def value(wildcards, input, attempt, threads, rulename, async_run):
            job = dict(input=input, attempt=attempt, threads=threads, rulename=rulename)
            found = {k: v(wildcards) if callable(v) else v for k, v in declared.items()}
            for key, each in given.items():
                found[key] = each.evaluate(wildcards, **job, async_run=async_run).value
            return _with_model(_grown(found, attempt)).get(name)

        return value

    return {"kind": kind, **{name: part(name) for name in sorted(names)}}


def longest_first(wildcards):
    """Priority of a run: the tokens that its rollouts have at most, in millions."""
    training = preset.training_for(wildcards.dataset, wildcards.model, wildcards.method)
    rollouts = training.steps * training.prompts * training.rollouts
    tokens = min(rollouts * training.max_response, training.tokens or float("inf"))
    return min(int(tokens) // 10**6, BEFORE_RUNS - 1)


def _grown(found, attempt):
    for name in GROWING:
        if found.get(name) is not None:
            most = found.get(f"max_{name}")
            wanted = found[name] * attempt
            found[name] = wanted if most is None else min(wanted, most)
    return found


def _with_model(found):
    """Snakemake's SLURM plugin refuses a hyphen in `gpu_model` (a100-sxm4-80gb): such a name goes into
    sbatch's own arguments."""
    model = found.get("gpu_model")
    if model and "-" in model:
        option = f"--gpus-per-node={model}:{found['gpu'] // found['nodes']}"
        extra = " ".join(filter(None, [found.get("slurm_extra"), option]))
        found |= {"gpu": None, "gpu_model": None, "slurm_extra": extra}
    return found
