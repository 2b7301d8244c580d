# What is measured before training: angle scores, difficulties, features, and orders, all of the
# prompts that fit the model.


rule prompts:
    input:
        model=layout.model_note("{model}"),
        train=layout.split("{dataset}", "train"),
    output:
        table=layout.prompts("{model}", "{dataset}"),
        note=layout.prompts_note("{model}", "{dataset}"),
    log:
        str(layout.home / "logs/prompts/{model}-{dataset}.log"),
    priority: BEFORE_RUNS
    conda:
        ENVIRONMENT
    resources:
        **needs("cpu"),
    params:
        preset=PRESET,
        slice=of_place(plan.prompts_slice),
    shell:
        "gainrl prompts --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} > {log} 2>&1"


# One job, or with scoring.shards one a shard: cluster jobs or GPUs that share the prompts.
if preset.scoring.shards == 1:

    rule score:
        input:
            model=layout.model_note("{model}"),
            prompts=layout.prompts("{model}", "{dataset}"),
        output:
            layout.signal("{model}", "{dataset}", "scores"),
        log:
            str(layout.home / "logs/score/{model}-{dataset}.log"),
        benchmark:
            str(layout.home / "benchmarks/score/{model}-{dataset}.tsv")
        priority: BEFORE_RUNS
        conda:
            ENVIRONMENT
        threads: preset.threads
        resources:
            **needs("gpu"),
        params:
            preset=PRESET,
            slice=of_place(plan.score_slice),
        shell:
            "gainrl score --preset {params.preset} --model {wildcards.model}"
            " --dataset {wildcards.dataset} > {log} 2>&1"

else:

    rule score_shard:
        input:
            model=layout.model_note("{model}"),
            prompts=layout.prompts("{model}", "{dataset}"),
        output:
            temp(str(layout.shard("{model}", "{dataset}", "{shard}", preset.scoring.shards))),
        log:
            str(layout.home / "logs/score/{model}-{dataset}-{shard}.log"),
        benchmark:
            str(layout.home / "benchmarks/score/{model}-{dataset}-{shard}.tsv")
        priority: BEFORE_RUNS
        conda:
            ENVIRONMENT
        threads: preset.threads
        resources:
            **needs("gpu"),
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
            model=layout.model_note("{model}"),
            prompts=layout.prompts("{model}", "{dataset}"),
        output:
            layout.signal("{model}", "{dataset}", "scores"),
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


# One job, or with scoring.difficulty_shards one a shard. Rollouts are no output: Snakemake deletes
# outputs of failed jobs, and a job has to find what it has already generated.
if DIFFICULTY_SHARDS == 1:

    rule difficulty:
        input:
            unpack(rollout_inputs),
        output:
            layout.signal("{model}", "{dataset}", "difficulty"),
        log:
            str(layout.home / "logs/difficulty/{model}-{dataset}.log"),
        benchmark:
            str(layout.home / "benchmarks/difficulty/{model}-{dataset}.tsv")
        priority: BEFORE_RUNS
        conda:
            ENVIRONMENT
        threads: preset.threads
        resources:
            **needs("gpu"),
        params:
            preset=PRESET,
            slice=of_place(plan.difficulty_slice),
        shell:
            "gainrl difficulty --preset {params.preset} --model {wildcards.model}"
            " --dataset {wildcards.dataset} > {log} 2>&1"

else:

    rule difficulty_shard:
        input:
            unpack(rollout_inputs),
        output:
            temp(touch(rollouts_done("{shard}"))),
        log:
            str(layout.home / "logs/difficulty/{model}-{dataset}-{shard}.log"),
        benchmark:
            str(layout.home / "benchmarks/difficulty/{model}-{dataset}-{shard}.tsv")
        priority: BEFORE_RUNS
        conda:
            ENVIRONMENT
        threads: preset.threads
        resources:
            **needs("gpu"),
        params:
            preset=PRESET,
            slice=of_place(plan.difficulty_slice),
        shell:
            "gainrl difficulty --preset {params.preset} --model {wildcards.model}"
            " --dataset {wildcards.dataset} --shard {wildcards.shard} > {log} 2>&1"

    rule gather_difficulty:
        input:
            unpack(rollout_inputs),
            shards=list(map(rollouts_done, range(DIFFICULTY_SHARDS))),
        output:
            layout.signal("{model}", "{dataset}", "difficulty"),
        log:
            str(layout.home / "logs/difficulty/{model}-{dataset}.log"),
        priority: BEFORE_RUNS
        conda:
            ENVIRONMENT
        resources:
            **needs("cpu"),
        params:
            preset=PRESET,
            slice=of_place(plan.difficulty_slice),
        shell:
            "gainrl difficulty --preset {params.preset} --model {wildcards.model}"
            " --dataset {wildcards.dataset} --collect > {log} 2>&1"


rule features:
    input:
        model=layout.model_note("{model}"),
        prompts=layout.prompts("{model}", "{dataset}"),
    output:
        layout.signal("{model}", "{dataset}", "features"),
    log:
        str(layout.home / "logs/features/{model}-{dataset}.log"),
    benchmark:
        str(layout.home / "benchmarks/features/{model}-{dataset}.tsv")
    priority: BEFORE_RUNS
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=of_place(plan.features_slice),
    shell:
        "gainrl features --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} > {log} 2>&1"


rule order:
    input:
        scores=layout.signal("{model}", "{dataset}", "scores"),
    output:
        layout.order("{model}", "{dataset}", "{order}"),
    log:
        str(layout.home / "logs/order/{model}-{dataset}-{order}.log"),
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
    shell:
        "gainrl order --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} --order {wildcards.order} > {log} 2>&1"
