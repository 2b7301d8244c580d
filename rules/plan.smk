# What the preset's runs would cost, and a job script and verl command line of each.


# No output: a call shows the estimate every time.
rule plan:
    log:
        str(layout.home / "logs/plan.log"),
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        out=at("plan"),
        profile=Path(workflow.basedir).parent / "slurm",
    shell:
        "gainrl plan --preset {params.preset} --out {params.out} --profile {params.profile:q}"
        " 2>&1 | tee {log}"
