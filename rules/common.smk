# What the rules share: paths of the whole preset, and functions that name a rule's inputs.

# The resolved preset; written when a run starts (tracking.smk), and no rule's input.
PRESET = str(layout.resolved)
KEY = plan.RunKey("{model}", "{dataset}", "{method}", "{seed}")
# Used with --sdm conda only. A file and not a name: Snakemake asks conda for what a named
# environment holds, even where conda is not used.
ENVIRONMENT = "../envs/local.yaml"


def of_place(slice_of):
    """A slice of the preset for the model and the data set of a job."""
    return lambda w: slice_of(preset, w.model, w.dataset)


def results_of(names):
    """Tables and figures of some experiments."""
    drawn = [figure for figure, experiment in figures.items() if experiment in names]
    tables = [f"results/{name}.csv" for name in names]
    selecting = [name for name in drawn if plan.selecting(preset, figures[name])]
    compared = [name for name in drawn if preset.experiments[figures[name]].speed]
    drawn += [f"{name}_selection" for name in selecting] + [f"{name}_speed" for name in compared]
    return tables + [f"results/figures/{figure}.png" for figure in drawn]


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


def test_inputs(wildcards):
    """What a test needs: a model, its problems, and where vLLM answers, its environment."""
    test = test_of(wildcards)
    environment = backends.find("verl").environment(preset) if test.engine == "vllm" else []
    return {
        "weights": test.ready(layout),
        "held_out": layout.split(test.benchmark, "eval"),
        "environment": ancient(environment),
    }


def tested(experiment):
    """Scores of an experiment's final models under its protocols."""
    tests = benchmark_plan.final_tests(preset, [experiment])
    return [str(test.score(layout)) for test in tests]


def prepared(experiment):
    """Scores and difficulties that an experiment's methods needed; the table says what they cost."""
    return [str(path) for path in plan.preparation(preset, layout, plan.runs(preset, [experiment]))]


def benchmarks_of(wildcards):
    """The benchmarks that a run's checkpoints are tested on."""
    return plan.benchmarks_of(preset, wildcards.model, wildcards.dataset, wildcards.method)


def pairs_of(part):
    """Models and data sets that a part of the studies looks at."""
    studies = plan.need_studies(preset, part)
    models = studies.answers.models if part == "answers" else studies.models
    return [(model, dataset) for model in models for dataset in studies.datasets]


def signal_inputs(wildcards):
    """Everything that the signal table sets against each other."""
    needed = ["scores.parquet", "difficulty.parquet"]
    if preset.studies.signal.gradient_prompts:
        needed.append("studies/gradients.parquet")
    return [str(layout.signals(*pair) / name) for pair in pairs_of("signal") for name in needed]


def study_inputs(wildcards):
    """What a figure about the signal is drawn from."""
    part = plan.STUDY_FIGURES[wildcards.study]
    if part == "dynamics":
        runs = plan.probed(preset)
        return [str(layout.probe(key)) for key in runs]
    stored = "maps" if wildcards.study == "figure3" else part
    return [str(layout.study(*pair, stored)) for pair in pairs_of(part)]


def claim_inputs(everything):
    """What verdicts rest on: runs, and where a claim is about prompts, the signal and probes."""
    wanted = claims_plan.wanted(preset, everything)
    measures = {claim.measure for claim in wanted.values()}
    keys = claims_plan.runs_of(preset, wanted.values())
    found = [str(layout.done(key)) for key in keys]
    if "correlation" in measures:
        found += signal_table()
    if "learnt_first" in measures:
        found += [str(layout.probe(key)) for key in plan.probed(preset)]
    if claims_plan.needs_traces(wanted.values()):
        found += traces(layout.extrapolated)
    if "overhead" in measures:
        pairs = dict.fromkeys((key.model, key.dataset) for key in keys)
        found += [str(layout.signal(*pair, "scores")) for pair in pairs]
    return found


def claim_tables(everything):
    """The table of verdicts, if there is one."""
    name = claims_plan.table(preset, everything)
    return [f"results/{name}"] if name else []


def signal_table():
    """The signal table, if the preset asks for it."""
    return ["results/signal.csv"] if preset.studies and preset.studies.signal else []


def studied():
    """Figures about the signal that the preset asks for."""
    return [f"results/figures/{name}.png" for name in plan.study_figures(preset)]


def traces(path):
    """A file of every run of the section `linearity`; path: of a run."""
    return [str(path(key)) for key in plan.traced(preset)]


def traced_figures():
    """Figures of the section `linearity`, if there is one."""
    return [f"results/figures/{name}.png" for name in linearity_plan.figures(preset)]


def traced_results():
    """Its table and its figures."""
    table = [f"results/{linearity_plan.TABLE}"] if preset.linearity else []
    return table + traced_figures()


def reported(everything):
    """What a report holds: the default target's results, or those of all targets."""
    results = results_of(experiments if everything else experiments[:1]) + signal_table()
    if preset.benchmarks and (everything or not experiments):
        results.append("results/benchmarks.csv")
    results += [f"results/{name}" for name in simulation_plan.tables(preset, everything)]
    results = claim_tables(everything) + results
    return results + studied() + traced_results() if everything else results


def finished(experiment):
    """done.json of every run of an experiment."""
    return [str(layout.done(key)) for key in plan.runs(preset, [experiment])]
