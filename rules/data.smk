# Data sets, from the hub, a file or a generator, to prompt tables. Local, as all that downloads.


localrules:
    data,


rule data:
    output:
        **{split: str(layout.split("{dataset}", split)) for split in ("train", "eval", "warmup")},
    log:
        str(layout.home / "logs/data/{dataset}.log"),
    priority: FIRST
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=lambda w: plan.dataset_slice(preset, w.dataset),
    shell:
        "gainrl data --preset {params.preset} --dataset {wildcards.dataset} > {log} 2>&1"
