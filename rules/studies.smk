# What the signal is worth: measurements of a run's snapshots, and the table and figures made of them
# and of those of the start model (signals.smk). `snakemake figures` draws all that the preset asks for.


rule probe:
    input:
        str(layout.done(KEY)),
    output:
        table=str(layout.probe(KEY)),
        neurons=str(layout.neurons(KEY)),
    log:
        str(layout.home / "logs/probe/{model}-{dataset}-{method}-seed{seed}.log"),
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        mem_mb=8000,
    params:
        preset=PRESET,
        slice=of_place(plan.probe_slice),
    shell:
        "gainrl probe --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed}"
        " > {log} 2>&1"


rule signal_table:
    input:
        signal_inputs,
    output:
        csv=report(
            "results/signal.csv",
            caption="../workflow/report/signal.rst",
            category="Tables",
            labels={"experiment": "signal"},
        ),
        markdown=report(
            "results/signal.md",
            caption="../workflow/report/signal.rst",
            category="Tables",
            labels={"experiment": "signal, in words"},
        ),
        tex="results/signal.tex",
    log:
        "results/logs/signal.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
    shell:
        "gainrl signal --preset {params.preset} --out {output.csv} > {log} 2>&1"


rule study_figure:
    input:
        study_inputs,
    output:
        png=report(
            "results/figures/{study}.png",
            caption="../workflow/report/study.rst",
            category="Figures",
            labels={"figure": "{study}"},
        ),
        pdf="results/figures/{study}.pdf",
    log:
        "results/logs/{study}.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
    shell:
        "gainrl study {wildcards.study} --preset {params.preset} --out {output.png} > {log} 2>&1"
