# What the start model says of the training prompts: scores, difficulties, features, studies; and
# the orders that follow from the scores.


PLACE = ("{model}", "{dataset}")
# Commands of `gainrl` that measure a model on a data set: the name of the rule, and its output.
MEASURES = {
    "score": ("score", [layout.signal(*PLACE, "scores")]),
    "difficulty": ("difficulty", [layout.signal(*PLACE, "difficulty")]),
    "features": ("features", [layout.signal(*PLACE, "features")]),
    "layers": ("study_layers", [layout.study(*PLACE, "layers"), layout.study(*PLACE, "maps")]),
    "answers": ("study_answers", [layout.study(*PLACE, "answers")]),
    "gradients": ("study_gradients", [layout.study(*PLACE, "gradients")]),
}
ALSO_READ = {"layers": [layout.signal(*PLACE, "difficulty")]}
if preset.scoring.shards > 1:
    del MEASURES["score"]


# A loop and not `use rule`, which would share one command line: a changed command line reruns jobs.
for command, (name, outputs) in MEASURES.items():

    rule:
        name:
            name
        input:
            layout.model_note("{model}"),
            layout.split("{dataset}", "train"),
            ALSO_READ.get(command, []),
        output:
            outputs,
        log:
            layout.home / f"logs/{command}/{{model}}-{{dataset}}.log",
        benchmark:
            layout.home / f"benchmarks/{command}/{{model}}-{{dataset}}.tsv"
        conda:
            ENVIRONMENT
        threads: preset.threads
        resources:
            mem_mb=8000,
        params:
            preset=PRESET,
            slice=of_place(getattr(plan, f"{command}_slice")),
        shell:
            f"gainrl {command} --preset {{params.preset}} --model {{wildcards.model}}"
            " --dataset {wildcards.dataset} > {log} 2>&1"


# With scoring.shards a job a shard: cluster jobs or GPUs that share the prompts.
if preset.scoring.shards > 1:

    rule score_shard:
        input:
            model=str(layout.model_note("{model}")),
            train=str(layout.split("{dataset}", "train")),
        output:
            temp(str(layout.shard("{model}", "{dataset}", "{shard}", preset.scoring.shards))),
        log:
            str(layout.home / "logs/score/{model}-{dataset}-{shard}.log"),
        benchmark:
            str(layout.home / "benchmarks/score/{model}-{dataset}-{shard}.tsv")
        conda:
            ENVIRONMENT
        threads: preset.threads
        resources:
            mem_mb=8000,
        params:
            preset=PRESET,
            slice=of_place(plan.score_slice),
        shell:
            "gainrl score --preset {params.preset} --model {wildcards.model}"
            " --dataset {wildcards.dataset} --shard {wildcards.shard} > {log} 2>&1"

    rule gather_scores:
        input:
            shards=[
                str(layout.shard("{model}", "{dataset}", shard, preset.scoring.shards))
                for shard in range(preset.scoring.shards)
            ],
            model=str(layout.model_note("{model}")),
            train=str(layout.split("{dataset}", "train")),
        output:
            str(layout.signal("{model}", "{dataset}", "scores")),
        log:
            str(layout.home / "logs/score/{model}-{dataset}.log"),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            preset=PRESET,
        shell:
            "gainrl gather --preset {params.preset} --model {wildcards.model}"
            " --dataset {wildcards.dataset} > {log} 2>&1"


rule order:
    input:
        scores=str(layout.signal("{model}", "{dataset}", "scores")),
    output:
        str(layout.order("{model}", "{dataset}", "{order}")),
    log:
        str(layout.home / "logs/order/{model}-{dataset}-{order}.log"),
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
    shell:
        "gainrl order --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} --order {wildcards.order} > {log} 2>&1"
