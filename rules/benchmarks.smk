# Tests under a protocol: of final models, and of models as they are. A part's answers are no output:
# Snakemake deletes outputs of failed jobs, and a job has to find what it has already generated.
TEST = str(layout.home / "{subject}/benchmarks/{benchmark}/{protocol}-{engine}")


rule benchmark:
    input:
        unpack(test_inputs),
        parts=(
            [f"{TEST}/{shard}.done" for shard in range(preset.testing.shards)]
            if preset.testing.shards > 1
            else []
        ),
    output:
        score=f"{TEST}/{benchmark_plan.SCORE}",
        samples=f"{TEST}/{benchmark_plan.SAMPLES}",
    log:
        str(layout.home / "logs/benchmark/{subject}-{benchmark}-{protocol}-{engine}.log"),
    benchmark:
        str(layout.home / "benchmarks/benchmark/{subject}-{benchmark}-{protocol}-{engine}.tsv")
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **needs("gpu" if preset.testing.shards == 1 else "cpu"),
    params:
        preset=PRESET,
        slice=lambda w: benchmark_plan.test_slice(preset, test_of(w)),
        collect="--collect" if preset.testing.shards > 1 else "",
    shell:
        "gainrl benchmark --preset {params.preset} --subject {wildcards.subject}"
        " --benchmark {wildcards.benchmark} --protocol {wildcards.protocol}"
        " --engine {wildcards.engine} {params.collect} > {log} 2>&1"


# One job, or with testing.shards one a shard: cluster jobs or GPUs that share the problems.
rule benchmark_shard:
    input:
        unpack(test_inputs),
    output:
        temp(touch(f"{TEST}/{{shard}}.done")),
    log:
        str(layout.home / "logs/benchmark/{subject}-{benchmark}-{protocol}-{engine}-{shard}.log"),
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=lambda w: benchmark_plan.test_slice(preset, test_of(w)),
    shell:
        "gainrl benchmark --preset {params.preset} --subject {wildcards.subject}"
        " --benchmark {wildcards.benchmark} --protocol {wildcards.protocol}"
        " --engine {wildcards.engine} --shard {wildcards.shard} > {log} 2>&1"
