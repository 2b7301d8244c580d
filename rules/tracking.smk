# Before the first job: the resolved preset, which every stage reads; on a cluster and in a rehearsal
# what the machine lacks for the whole preset; and the tracking store, which one process has to
# create (a fresh SQLite file does not survive two openers).
#
# None is a rule. Snakemake does not look at what else has changed below a job that is about to
# run, and `ancient` would then hide a changed learning rate or a new method until the next call.


onstart:
    from gainrl.files import alone, keep
    from gainrl.tracking import journal

    # In the preset's own order: the first experiment is the default one. Every job reads it as it
    # begins, so it stays as it is until this call ends; a dry run and --unlock do not come here.
    if not keep(layout.resolved, preset.model_dump_json(indent=1) + "\n"):
        sys.exit(
            f"gainrl: {PRESET}: another call works with other settings of preset "
            f"'{preset.preset}': wait for it, or give yours another name (key preset)"
        )
    cluster = workflow.executor_plugin.name == "slurm"
    if cluster or preset is not whole:
        asked = PRESET  # the doctor stops nothing: a rehearsal is the proof
        if preset is not whole:
            asked = str(ROOT / "whole.json")
            records.write_text(asked, whole.model_dump_json(indent=1) + "\n")
        profile = f"--profile {Path(workflow.basedir).parent / 'slurm'}" if cluster else ""
        shell("gainrl doctor --preset {asked} {profile} || test $? -eq 1")
    # Nodes write journals (gainrl.tracking.journal) where the store is a file; jobs inherit this.
    if cluster and preset.tracking.is_file(os.environ.get("MLFLOW_TRACKING_URI")):
        journal.switch_on()
    if set(workflow.dag_settings.targets) != {"plan"}:  # an estimate has nothing to track
        # Experiments and parents of what runs alone: no empty ones beside them.
        outputs = {str(path) for job in workflow.dag.needrun_jobs() for path in job.output}
        with alone(layout.call):  # of the latest call; it is read before another one writes it
            records.write_json(layout.call, report_plan.tracked(preset, layout, outputs))
            shell("gainrl tracking init --preset {PRESET} --only {layout.call}")
