# The resolved preset and the tracking store; both exist before anything else runs.


# Stages read this file, but are rerun only when their own slice (a param) changes.
rule preset:
    output:
        PRESET,
    log:
        str(layout.home / "logs/preset.log"),
    conda:
        ENVIRONMENT
    params:
        preset=preset.model_dump(mode="json"),
    run:
        from gainrl.records import write_json

        write_json(output[0], params.preset)


# One process creates the store: a fresh SQLite file does not survive two openers.
rule tracking:
    input:
        preset=ancient(PRESET),
    output:
        TRACKING,
    log:
        str(layout.home / "logs/tracking.log"),
    conda:
        ENVIRONMENT
    params:
        runs=sorted({key.parent for key in planning.runs(preset)}),
        tracking=preset.tracking.model_dump(mode="json"),
    shell:
        "gainrl tracking init --preset {input.preset} > {log} 2>&1"
