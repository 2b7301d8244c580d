# What the signal is worth: measurements of the start model and of a run's snapshots, and the table
# and figures made of them. `snakemake figures` draws all that the preset asks for.


rule study_layers:
    input:
        model=layout.model_note("{model}"),
        prompts=layout.prompts("{model}", "{dataset}"),
        difficulty=layout.signal("{model}", "{dataset}", "difficulty"),
    output:
        table=layout.study("{model}", "{dataset}", "layers"),
        maps=layout.study("{model}", "{dataset}", "maps"),
    log:
        str(layout.home / "logs/layers/{model}-{dataset}.log"),
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=of_place(plan.layers_slice),
    shell:
        "gainrl layers --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} > {log} 2>&1"


rule study_answers:
    input:
        model=layout.model_note("{model}"),
        prompts=layout.prompts("{model}", "{dataset}"),
    output:
        layout.study("{model}", "{dataset}", "answers"),
    log:
        str(layout.home / "logs/answers/{model}-{dataset}.log"),
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=of_place(plan.answers_slice),
    shell:
        "gainrl answers --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} > {log} 2>&1"


rule study_gradients:
    input:
        model=layout.model_note("{model}"),
        prompts=layout.prompts("{model}", "{dataset}"),
    output:
        layout.study("{model}", "{dataset}", "gradients"),
    log:
        str(layout.home / "logs/gradients/{model}-{dataset}.log"),
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=of_place(plan.gradients_slice),
    shell:
        "gainrl gradients --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} > {log} 2>&1"


rule probe:
    input:
        layout.done(KEY),
    output:
        table=layout.probe(KEY),
        neurons=layout.neurons(KEY),
    log:
        str(layout.home / "logs/probe/{model}-{dataset}-{method}-seed{seed}.log"),
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **needs("gpu"),
    params:
        preset=PRESET,
        slice=of_place(plan.probe_slice),
    shell:
        "gainrl probe --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed}"
        " > {log} 2>&1"


rule signal_table:
    input:
        made_of("signal"),
    output:
        csv=report(
            at("signal.csv"),
            caption="../workflow/report/signal.rst",
            category="Tables",
            labels={"experiment": "signal"},
        ),
        markdown=report(
            at("signal.md"),
            caption="../workflow/report/signal.rst",
            category="Tables",
            labels={"experiment": "signal, in words"},
        ),
        tex=at("signal.tex"),
        blocks=at("signal.json"),
    log:
        at("logs/signal.log"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=slice_of("signal"),
    shell:
        "gainrl signal --preset {params.preset} --out {output.csv} > {log} 2>&1"


rule study_figure:
    input:
        made_of("figures/{study}"),
    output:
        png=report(
            at("figures/{study}.png"),
            caption="../workflow/report/study.rst",
            category="Figures",
            labels={"figure": "{study}"},
        ),
        pdf=at("figures/{study}.pdf"),
    log:
        at("logs/{study}.log"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=slice_of("figures/{study}"),
    shell:
        "gainrl study {wildcards.study} --preset {params.preset} --out {output.png} > {log} 2>&1"
