# Training runs. Only done.json, written last, is an output: Snakemake deletes outputs of failed
# jobs, and a run has to find its checkpoints and records again when it is retried.


rule train:
    input:
        model=str(layout.model("{model}") / "gainrl.json"),
        train=str(layout.split("{dataset}", "train")),
        walked=walked,
        held_out=lambda w: [str(layout.split(name, "eval")) for name in benchmarks_of(w)],
        start=lambda w: [str(layout.start(w.model, name)) for name in benchmarks_of(w)],
        environment=ancient(verl_environment),
    output:
        str(layout.run(KEY) / "done.json"),
    log:
        str(layout.home / "logs/train/{model}-{dataset}-{method}-seed{seed}.log"),
    benchmark:
        str(layout.home / "benchmarks/train/{model}-{dataset}-{method}-seed{seed}.tsv")
    conda:
        ENVIRONMENT
    threads: preset.threads
    resources:
        **SEVERAL_NODES,
        mem_mb=8000,
        # What verl is told it has; the local backend trains on one device.
        gpu=lambda w: preset.verl.nodes * preset.verl.gpus_per_node if on_verl(w) else 1,
        nodes=lambda w: preset.verl.nodes if on_verl(w) else 1,
    params:
        preset=PRESET,
        slice=lambda w: planning.run_slice(preset, w.model, w.dataset, w.method),
    shell:
        "gainrl train --preset {params.preset} --model {wildcards.model}"
        " --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed}"
        " > {log} 2>&1"
