# What methods try before they are compared: runs of tried settings, which are methods of their own
# (METHOD.tryK), and the choice that a method's runs read their setting from.
if preset.tuning is not None:

    use rule train as try_setting with:
        output:
            [str(layout.done(dataclasses.replace(KEY, seed=seed))) for seed in TUNING_SEEDS],
        wildcard_constraints:
            method=one_of(name for name in preset.methods if plan.is_tried(preset, name)),

    rule tune:
        input:
            lambda w: [
                str(layout.done(key))
                for key in plan.tried_runs(preset, w.model, w.dataset, w.method)
            ],
        output:
            str(layout.choice("{model}", "{dataset}", "{method}")),
        log:
            str(layout.home / "logs/tune/{model}-{dataset}-{method}.log"),
        wildcard_constraints:
            method=one_of(preset.tuning.methods),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            preset=PRESET,
            slice=lambda w: plan.tuning_slice(preset, w.model, w.dataset, w.method),
        shell:
            "gainrl tune --preset {params.preset} --model {wildcards.model}"
            " --dataset {wildcards.dataset} --method {wildcards.method} > {log} 2>&1"


# Without tuning the command says that there is nothing for the page.
rule study_page:
    input:
        built("all"),
    output:
        at("report_study.md"),
    log:
        at("logs/study.log"),
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=plan.digest(preset.fingerprint()),
    shell:
        "gainrl study --preset {params.preset} --out {output} > {log} 2>&1"
