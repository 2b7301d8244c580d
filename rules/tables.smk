# Tables are views of the active preset over its finished runs.


rule table:
    input:
        made_of("{experiment}"),
    output:
        csv=report(
            at("{experiment}.csv"),
            caption="../workflow/report/table.rst",
            category="Tables",
            labels={"experiment": "{experiment}"},
        ),
        markdown=at("{experiment}.md"),
        tex=at("{experiment}.tex"),
        blocks=at("{experiment}.json"),
    log:
        at("logs/{experiment}.log"),
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=slice_of("{experiment}"),
    shell:
        "gainrl table --preset {params.preset} --experiment {wildcards.experiment}"
        " --out {output.csv} > {log} 2>&1"


# Where an experiment's cost goes.
rule cost_table:
    input:
        made_of("{experiment}_cost"),
    output:
        csv=report(
            at("{experiment}_cost.csv"),
            category="Tables",
            labels={"experiment": "{experiment}, cost"},
        ),
        markdown=at("{experiment}_cost.md"),
        tex=at("{experiment}_cost.tex"),
        blocks=at("{experiment}_cost.json"),
    log:
        at("logs/{experiment}_cost.log"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=slice_of("{experiment}_cost"),
    shell:
        "gainrl make {wildcards.experiment}_cost --preset {params.preset} > {log} 2>&1"
