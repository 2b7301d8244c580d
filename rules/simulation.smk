# Curricula without a model: the regimes of the section `simulation`, and how well they predict the
# ranks of finished runs.


rule simulation:
    input:
        made_of("simulation"),
    output:
        csv=report(
            at("simulation.csv"),
            caption="../workflow/report/simulation.rst",
            category="Tables",
            labels={"experiment": "simulation"},
        ),
        markdown=at("simulation.md"),
        tex=at("simulation.tex"),
        blocks=at("simulation.json"),
        png=report(
            at("figures/simulation.png"),
            caption="../workflow/report/simulation.rst",
            category="Figures",
            labels={"figure": "simulation"},
        ),
        pdf=at("figures/simulation.pdf"),
    log:
        at("logs/simulation.log"),
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
            at("predictions.csv"),
            caption="../workflow/report/simulation.rst",
            category="Tables",
            labels={"experiment": "predictions"},
        ),
        markdown=at("predictions.md"),
        tex=at("predictions.tex"),
        blocks=at("predictions.json"),
    log:
        at("logs/predictions.log"),
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
