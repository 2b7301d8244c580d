# How straight runs move, and what extrapolating them gives: traces of runs, a table and figures.


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

    rule linearity_table:
        input:
            made_of("linearity"),
        output:
            csv=report(
                at("linearity.csv"),
                caption="../workflow/report/linearity.rst",
                category="Tables",
                labels={"experiment": "linearity"},
            ),
            views=[at(f"linearity{end}") for end in (".md", ".tex", ".json")],
        log:
            at("logs/linearity.log"),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            preset=PRESET,
            slice=slice_of("linearity"),
        shell:
            "gainrl linearity-table --preset {params.preset} --out {output.csv} > {log} 2>&1"

    rule linearity_figure:
        input:
            made_of("figures/{linear}"),
        output:
            png=report(
                at("figures/{linear}.png"),
                caption="../workflow/report/linearity.rst",
                category="Figures",
                labels={"figure": "{linear}"},
            ),
            pdf=at("figures/{linear}.pdf"),
        log:
            at("logs/{linear}.log"),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            preset=PRESET,
            slice=slice_of("figures/{linear}"),
        shell:
            "gainrl linearity-figure {wildcards.linear} --preset {params.preset}"
            " --out {output.png} > {log} 2>&1"
