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
