# How straight runs move, and what extrapolating them gives: traces of runs.


if preset.linearity:

    rule linearity:
        input:
            run=str(layout.done(KEY)),
            held_out=lambda w: plan.held_out(preset, layout, w),
        output:
            table=str(layout.linearity(KEY)),
            facts=str(layout.extrapolated(KEY)),
        log:
            str(layout.home / "logs/linearity/{model}-{dataset}-{method}-seed{seed}.log"),
        benchmark:
            str(layout.home / "benchmarks/linearity/{model}-{dataset}-{method}-seed{seed}.tsv")
        conda:
            ENVIRONMENT
        threads: preset.threads
        resources:
            **needs("gpu"),
        params:
            preset=PRESET,
            slice=lambda w: linearity_plan.trace_slice(preset, w.model, w.dataset, w.method),
        shell:
            "gainrl linearity --preset {params.preset} --model {wildcards.model}"
            " --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed}"
            " > {log} 2>&1"
