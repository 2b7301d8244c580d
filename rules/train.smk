# Training runs. Only done.json, written last, is an output: Snakemake deletes outputs of failed
# jobs, and a run has to find its checkpoints and records again when it is retried. A job trains one
# seed, or with `seeds_together` all of them.
SEEDS = list(preset.seeds) if preset.seeds_together else ["{seed}"]
if preset.tuning is not None:
    TUNING_SEEDS = list(preset.tuning.seeds) if preset.seeds_together else ["{seed}"]
JOB = "{model}-{dataset}-{method}" + ("" if preset.seeds_together else "-seed{seed}")


rule train:
    input:
        model=lambda w: [str(layout.model_note(start)) for start in starts_of(w)],
        prompts=lambda w: [str(layout.prompts(start, w.dataset)) for start in starts_of(w)],
        walked=walked,
        chosen=lambda w: plan.chosen(preset, layout, w),
        held_out=lambda w: [str(layout.split(name, "eval")) for name in benchmarks_of(w)],
        start=lambda w: [
            str(layout.start(start, name)) for start in starts_of(w) for name in benchmarks_of(w)
        ],
        environment=ancient(lambda w: backend_of(w).environment(preset)),
    output:
        [str(layout.done(dataclasses.replace(KEY, seed=seed))) for seed in SEEDS],
    log:
        str(layout.home / f"logs/train/{JOB}.log"),
    benchmark:
        str(layout.home / f"benchmarks/train/{JOB}.tsv")
    wildcard_constraints:
        method=one_of(name for name in preset.methods if not plan.is_tried(preset, name)),
    priority: longest_first
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **SEVERAL_NODES,
        **needs(
            "training" if any(each.distributed for each in backends.used(preset)) else "gpu",
            gpu=lambda w: backend_of(w).resources(preset).gpus,
            nodes=lambda w: backend_of(w).resources(preset).nodes,
        ),
    params:
        preset=PRESET,
        slice=lambda w: plan.train_slice(preset, w.model, w.dataset, w.method),
        # a list, as it has always been: Snakemake would take a tuple for another value
        seeds=lambda w: list(plan.seeds_of(preset, w.method)) if preset.seeds_together else [w.seed],
    shell:
        "gainrl train --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} --method {wildcards.method} --seed {params.seeds}"
        " > {log} 2>&1"
