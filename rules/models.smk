# Start models: fetched or built, and warmed up on worked solutions.


rule build_model:
    input:
        tables=lambda w: plan.warmup_tables(preset, layout, w.model),
    output:
        str(layout.model_note("{model}")),
    log:
        str(layout.home / "logs/model/{model}.log"),
    benchmark:
        str(layout.home / "benchmarks/model/{model}.tsv")
    conda:
        ENVIRONMENT
    threads: lambda w: preset.models[w.model].threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=lambda w: plan.model_slice(preset, w.model),
    shell:
        "gainrl model --preset {params.preset} --model {wildcards.model} > {log} 2>&1"
