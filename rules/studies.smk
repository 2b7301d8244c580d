# What the signal is worth: measurements of the start model and of a run's snapshots.


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
