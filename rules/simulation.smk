# Curricula without a model: the regimes of the section `simulation`, and how well they predict the
# ranks of finished runs.


rule simulation:
    input:
        made_of("simulation"),
    output:
        csv=report(
            "results/simulation.csv",
            caption="../workflow/report/simulation.rst",
            category="Tables",
            labels={"experiment": "simulation"},
        ),
        markdown="results/simulation.md",
        tex="results/simulation.tex",
        blocks="results/simulation.json",
        png=report(
            "results/figures/simulation.png",
            caption="../workflow/report/simulation.rst",
            category="Figures",
            labels={"figure": "simulation"},
        ),
        pdf="results/figures/simulation.pdf",
    log:
        "results/logs/simulation.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **needs("cpu"),
    params:
        preset=PRESET,
        slice=slice_of("simulation"),
    shell:
        "gainrl simulate --preset {params.preset} --out {output.csv} --figure {output.png}"
        " > {log} 2>&1"


rule predictions:
    input:
        made_of("predictions"),
    output:
        csv=report(
            "results/predictions.csv",
            caption="../workflow/report/simulation.rst",
            category="Tables",
            labels={"experiment": "predictions"},
        ),
        markdown="results/predictions.md",
        tex="results/predictions.tex",
        blocks="results/predictions.json",
    log:
        "results/logs/predictions.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **needs("cpu"),
    params:
        preset=PRESET,
        slice=slice_of("predictions"),
    shell:
        "gainrl predictions --preset {params.preset} --out {output.csv} > {log} 2>&1"
