# Accuracy before RL, by the engine that tests the checkpoints in the training run itself.


rule evaluate:
    input:
        unpack(start_inputs),
    output:
        str(layout.start("{model}", "{benchmark}")),
    log:
        str(layout.home / "logs/evaluate/{model}-{benchmark}.log"),
    benchmark:
        str(layout.home / "benchmarks/evaluate/{model}-{benchmark}.tsv")
    priority: BEFORE_RUNS
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=lambda w: plan.evaluation_slice(preset, w.model, w.benchmark),
    shell:
        "gainrl evaluate --preset {params.preset} --model {wildcards.model}"
        " --benchmark {wildcards.benchmark} > {log} 2>&1"
