# `snakemake rehearse`: all that `all` makes, with small amounts, below results/<preset>-rehearsal; and
# in the end, whatever has failed, a table of its jobs and of what was measured.


rule rehearse:
    input:
        rules.all.input,


if rehearsal.requested(sys.argv[1:]):

    def rehearsal_page():
        """What became of every job, known to Snakemake alone."""
        dag, failed = workflow.dag, workflow.scheduler.failed
        jobs = [
            {
                "rule": job.rule.name,
                "of": dict(job.wildcards_dict),
                "log": [str(path) for path in job.log],
                "benchmark": str(job.benchmark) if job.benchmark else None,
                "inputs": [str(path) for path in job.input],
                "outputs": [str(path) for path in job.output],
                "state": (
                    "failed"
                    if job in failed
                    else "passed" if dag.finished(job) or not dag.needrun(job) else "skipped"
                ),
            }
            for job in dag.jobs
            if job.output or job.log
        ]
        records.write_json(ROOT / "jobs.json", jobs)
        shell(
            "gainrl rehearsal --preset {PRESET} --jobs {ROOT}/jobs.json --out results/rehearsal.csv"
        )

    onsuccess:
        rehearsal_page()

    onerror:
        rehearsal_page()
