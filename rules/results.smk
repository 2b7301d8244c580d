# Tables and figures, a rule for each that the preset asks for: what it is made of and what makes it is
# declared in its topic's plan.py. And the page that shows them.


for result in results.values():

    rule:
        name:
            result.rule
        input:
            list(map(str, result.inputs)),
        output:
            *files_of(result),
        log:
            at(f"logs/{result.name}.log"),
        localrule: result.local
        conda:
            ENVIRONMENT
        resources:
            **needs("cpu"),
        params:
            preset=PRESET,
            name=result.name,
            slice=result.fingerprint,
        shell:
            "gainrl make {params.name} --preset {params.preset} > {log} 2>&1"


# `snakemake results/table1.csv`: a copy, with the preset's name in it, of what the preset has in its
# own folder; copies of another preset are removed.
rule copy:
    input:
        at("{file}"),
    output:
        str(layout.root / "{file}"),
    log:
        at("logs/copies/{file}.log"),
    wildcard_constraints:
        file=one_of(COPIED),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        name=preset.preset,
    shell:
        "gainrl copy --preset {params.preset} --out {output} > {log} 2>&1"


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
        slice=lambda w: plan.digest(preset.fingerprint()),
    shell:
        "gainrl report --preset {params.preset} --scope {params.scope} --out {output}"
        " > {log} 2>&1"
