# Tables are views of the active preset over its finished runs.


rule table:
    input:
        made_of("{experiment}"),
    output:
        csv=report(
            "results/{experiment}.csv",
            caption="../workflow/report/table.rst",
            category="Tables",
            labels={"experiment": "{experiment}"},
        ),
        markdown="results/{experiment}.md",
        tex="results/{experiment}.tex",
        blocks="results/{experiment}.json",
    log:
        "results/logs/{experiment}.log",
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
            "results/{experiment}_cost.csv",
            category="Tables",
            labels={"experiment": "{experiment}, cost"},
        ),
        markdown="results/{experiment}_cost.md",
        tex="results/{experiment}_cost.tex",
        blocks="results/{experiment}_cost.json",
    log:
        "results/logs/{experiment}_cost.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=slice_of("{experiment}_cost"),
    shell:
        "gainrl make {wildcards.experiment}_cost --preset {params.preset} > {log} 2>&1"
