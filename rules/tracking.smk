# Before the first job: the resolved preset, which every stage reads, and the tracking store, which
# one process has to create (a fresh SQLite file does not survive two openers).
#
# Neither is a rule. Snakemake does not look at what else has changed below a job that is about to
# run, and `ancient` would then hide a changed learning rate or a new method until the next call.


onstart:
    from gainrl.records import write_text

    # In the preset's own order: the first experiment is the default one.
    write_text(PRESET, preset.model_dump_json(indent=1) + "\n")
    if set(workflow.dag_settings.targets) != {"plan"}:  # an estimate has nothing to track
        shell("gainrl tracking init --preset {PRESET}")
