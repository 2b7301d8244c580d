# Verdicts on the preset's claims: `claims` of everything, `claims_first` of what the default target
# builds.


rule claims:
    input:
        made_of("claims{first}"),
    output:
        csv=report(
            at("claims{first}.csv"),
            caption="../workflow/report/claims.rst",
            category="Verdicts",
            labels={"experiment": "claims{first}"},
        ),
        markdown=at("claims{first}.md"),
        tex=at("claims{first}.tex"),
        blocks=at("claims{first}.json"),
    log:
        at("logs/claims{first}.log"),
    conda:
        ENVIRONMENT
    params:
        preset=PRESET,
        slice=slice_of("claims{first}"),
        scope=lambda w: "first" if w.first else "all",
    shell:
        "gainrl claims --preset {params.preset} --scope {params.scope} --out {output.csv}"
        " > {log} 2>&1"
