# Figures of the active preset, and the report that holds everything.


rule figure:
    input:
        made_of("figures/{figure}"),
    output:
        curves=report(
            at("figures/{figure}.png"),
            caption="../workflow/report/curves.rst",
            category="Figures",
            labels={"figure": "{figure}, learning curves"},
        ),
        curriculum=report(
            at("figures/{figure}_curriculum.png"),
            caption="../workflow/report/curriculum.rst",
            category="Figures",
            labels={"figure": "{figure}, curriculum"},
        ),
        pdfs=[at("figures/{figure}.pdf"), at("figures/{figure}_curriculum.pdf")],
    log:
        at("logs/{figure}.log"),
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        experiment=lambda w: figures[w.figure],
        slice=slice_of("figures/{figure}"),
    shell:
        "gainrl figures --preset {params.preset} --experiment {params.experiment}"
        " --out {output.curves} --curriculum {output.curriculum} > {log} 2>&1"


# Every method of an experiment, from its table.
rule speed_figure:
    input:
        made_of("figures/{figure}_speed"),
    output:
        png=report(
            at("figures/{figure}_speed.png"),
            caption="../workflow/report/speed.rst",
            category="Figures",
            labels={"figure": "{figure}, all methods"},
        ),
        pdf=at("figures/{figure}_speed.pdf"),
    log:
        at("logs/{figure}_speed.log"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        experiment=lambda w: figures[w.figure],
        slice=slice_of("figures/{figure}_speed"),
    shell:
        "gainrl speed --preset {params.preset} --experiment {params.experiment}"
        " --out {output.png} > {log} 2>&1"


# The same accuracy over what was spent.
rule cost_figure:
    input:
        made_of("figures/{figure}_cost"),
    output:
        png=report(
            at("figures/{figure}_cost.png"),
            category="Figures",
            labels={"figure": "{figure}, accuracy by cost"},
        ),
        pdf=at("figures/{figure}_cost.pdf"),
    log:
        at("logs/{figure}_cost.log"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=slice_of("figures/{figure}_cost"),
    shell:
        "gainrl make figures/{wildcards.figure}_cost --preset {params.preset} > {log} 2>&1"


# Which prompts the selections take (Figure 8, left).
rule selection_figure:
    input:
        made_of("figures/{figure}_selection"),
    output:
        png=report(
            at("figures/{figure}_selection.png"),
            caption="../workflow/report/selection.rst",
            category="Figures",
            labels={"figure": "{figure}, chosen prompts"},
        ),
        pdf=at("figures/{figure}_selection.pdf"),
    log:
        at("logs/{figure}_selection.log"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        experiment=lambda w: figures[w.figure],
        slice=slice_of("figures/{figure}_selection"),
    shell:
        "gainrl selection --preset {params.preset} --experiment {params.experiment}"
        " --out {output.png} > {log} 2>&1"


# The page that a reader opens first: `report` of what the default target builds, `report_all` of
# everything. It shows the whole preset, so any change to it renews the page.
rule report:
    input:
        lambda w: built("all" if w.scope else "default"),
        lambda w: shown("all" if w.scope else "default"),
    output:
        at("report{scope}.html"),
    log:
        at("logs/report{scope}.log"),
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        scope=lambda w: "all" if w.scope else "first",
        slice=lambda w: plan.digest(preset.model_dump(mode="json")),
    shell:
        "gainrl report --preset {params.preset} --scope {params.scope} --out {output}"
        " > {log} 2>&1"
