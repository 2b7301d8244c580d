# What the rules share: paths of the whole preset, and functions that name a rule's inputs.

# The resolved preset; written when a run starts (tracking.smk), and no rule's input.
PRESET = str(layout.resolved)
KEY = plan.RunKey("{model}", "{dataset}", "{method}", "{seed}")
DIFFICULTY_SHARDS = preset.scoring.difficulty_shards
# Used with --sdm conda only. A file and not a name: Snakemake asks conda for what a named
# environment holds, even where conda is not used.
ENVIRONMENT = "../envs/local.yaml"


def at(name):
    """A result's file."""
    return str(layout.home / name)


def one_of(names):
    """A regular expression of some names."""
    return "|".join(map(re.escape, names)) or "none"


def of_place(slice_of):
    """A slice of the preset for the model and the data set of a job."""
    return lambda w: slice_of(preset, w.model, w.dataset)


def built(target):
    """Tables and figures that a target builds."""
    chosen = report_plan.built(results, target).values()
    return [str(result.files(layout.home)[0]) for result in chosen]


def shown(target):
    """What the page of a target reads beside them; so a table from before there were blocks is
    made again."""
    chosen = report_plan.built(results, target).values()
    return [str(path) for result in chosen for path in result.shown(layout.home)]


def files_of(result):
    """What a result's job writes; those that Snakemake's own report shows are marked."""
    kept = {"category": result.section.word, "labels": {"result": result.name}}
    written = [report(str(path), **kept) for path in result.files(layout.home)]
    return written + [str(path) for path in result.beside(layout.home)]


# What may be copied beside the presets' folders: tables and figures in all forms, and the pages.
COPIED = [
    *(
        str(path.relative_to(layout.root))
        for result in results.values()
        for path in [*result.files(layout.root), *result.beside(layout.root)]
    ),
    "report.html",
    "report_all.html",
]


# On several nodes a job has to be the batch script itself, which the SLURM plugin makes it only if it
# is declared as MPI; as a step it would be confined to one node. tasks_per_gpu: 0 is "do not say".
NODES = max((each.resources(preset).nodes for each in backends.used(preset)), default=1)
SEVERAL_NODES = {"mpi": "srun", "tasks": NODES, "tasks_per_gpu": 0} if NODES > 1 else {}


def backend_of(wildcards):
    """The backend of a run."""
    return plan.backend_of(preset, wildcards.dataset, wildcards.model)


def test_of(wildcards):
    """The test that a job's wildcards name."""
    names = (wildcards.benchmark, wildcards.protocol, wildcards.engine)
    return benchmark_plan.parse(preset, wildcards.subject, *names)


def environment_of(engine):
    """Where vLLM answers, its environment."""
    return ancient(backends.find("verl").environment(preset) if engine == "vllm" else [])


def start_inputs(wildcards):
    """What the test of a model before RL needs."""
    engine = plan.engine_of(preset, wildcards.benchmark, wildcards.model)
    return {
        "model": layout.model_note(wildcards.model),
        "held_out": layout.split(wildcards.benchmark, "eval"),
        "environment": environment_of(engine),
    }


def test_inputs(wildcards):
    """What a test needs: a model, its problems, and where vLLM answers, its environment."""
    test = test_of(wildcards)
    return {
        "weights": test.ready(layout),
        "held_out": layout.split(test.benchmark, "eval"),
        "environment": environment_of(test.engine),
    }


def runs_of(wildcards):
    """The runs of a training job: of one seed, or with `seeds_together` of all."""
    together = plan.seeds_of(preset, wildcards.method)
    seeds = together if preset.seeds_together else [int(wildcards.seed)]
    names = (wildcards.model, wildcards.dataset, wildcards.method)
    return [plan.RunKey(*names, seed) for seed in seeds]


def starts_of(wildcards):
    """Names of the start models of a training job's runs, each once."""
    return list(dict.fromkeys(preset.start_of(run.model, run.seed) for run in runs_of(wildcards)))


def walked(wildcards):
    """What the curricula of a training job's runs are built from, each file once."""
    paths = (plan.inputs_of(preset, layout, run).walked for run in runs_of(wildcards))
    return list(dict.fromkeys(str(path) for found in paths for path in found))


def benchmarks_of(wildcards):
    """The benchmarks that a run's checkpoints are tested on."""
    return plan.benchmarks_of(preset, wildcards.model, wildcards.dataset, wildcards.method)


def model_inputs(wildcards):
    """What a model is made of."""
    family = preset.family(wildcards.model)
    fetched = [layout.fetched(family)] if plan.downloaded(preset, family) else []
    return fetched + plan.warmup_tables(preset, layout, wildcards.model)


def rollouts_done(shard):
    """What says that a shard's rollouts are there."""
    folder = layout.signals("{model}", "{dataset}")
    return str(folder / f"difficulty-{shard}-of-{DIFFICULTY_SHARDS}.done")


def rollout_inputs(wildcards):
    """What rollouts of a start model need: the prompts, and where vLLM answers, its environment."""
    engine = plan.answering_engine(preset, wildcards.dataset, wildcards.model)
    return {
        "model": layout.model_note(wildcards.model),
        "prompts": layout.prompts(wildcards.model, wildcards.dataset),
        "environment": environment_of(engine),
    }


def sync_journals():
    """What nodes have written for the tracking store goes there, from this machine."""
    if os.environ.get("GAINRL_JOURNAL"):
        shell("gainrl tracking sync --preset {PRESET}")


def rehearsal_page():
    """The table and the page of a rehearsal that has ended, whatever has failed in it."""
    records.write_json(ROOT / "jobs.json", rehearsal.left(workflow))
    shell("gainrl rehearsal --preset {PRESET} --jobs {ROOT}/jobs.json --out results/rehearsal.csv")


def say_answers():
    """What the tables say that this call has made, and where it all is."""
    from gainrl.report.ending import answers

    print(*answers(preset, layout, rehearsal.left(workflow)), sep="\n")


def say_failures():
    """Each job that has failed, and why."""
    from gainrl.report.ending import failures

    print(*failures(rehearsal.left(workflow)), sep="\n", file=sys.stderr)
