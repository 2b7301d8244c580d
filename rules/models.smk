# Start models: fetched or built, and warmed up on worked solutions. What downloads is local, and jobs
# have no network.
WARMED = plan.start_patterns(preset, warmed=True)
AS_IT_IS = plan.start_patterns(preset, warmed=False)


localrules:
    fetch,
    fetch_model,
    take_model,


# Everything that comes over the network: `snakemake fetch` on a login node, and jobs need none.
rule fetch:
    input:
        list(map(str, plan.fetched(preset, layout))),
        [str(path) for each in backends.used(preset) for path in each.environment(preset)],


rule fetch_model:
    output:
        str(layout.fetched("{model}")),
    log:
        str(layout.home / "logs/fetch/{model}.log"),
    priority: FIRST
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=lambda w: plan.model_slice(preset, w.model),
    shell:
        "gainrl fetch --preset {params.preset} --model {wildcards.model} > {log} 2>&1"


rule build_model:
    input:
        tables=model_inputs,
    output:
        str(layout.model_note("{model}")),
    log:
        str(layout.home / "logs/model/{model}.log"),
    benchmark:
        str(layout.home / "benchmarks/model/{model}.tsv")
    wildcard_constraints:
        model=WARMED,
    priority: BEFORE_RUNS
    conda:
        ENVIRONMENT
    threads: lambda w: preset.spec(w.model).threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=lambda w: plan.model_slice(preset, w.model),
    shell:
        "gainrl model --preset {params.preset} --model {wildcards.model} > {log} 2>&1"


# A model as it is: its files are checked and linked, which needs no GPU.
use rule build_model as take_model with:
    wildcard_constraints:
        model=AS_IT_IS,
    threads: 1
    resources:
        **needs("cpu"),
