# The environments of the verl backend. Local: compute nodes often reach no package registry.


LISTS = {"auto": ["cuda", "cu129"]}  # the driver decides which


localrules:
    verl_environment,


rule verl_environment:
    input:
        lambda w: [f"envs/verl-{kind}.txt" for kind in LISTS.get(w.kind, [w.kind])],
    output:
        ".environments/verl-{kind}/ready",
    log:
        ".environments/verl-{kind}.log",
    wildcard_constraints:
        kind="auto|cuda|cu129|cpu",
    conda:
        ENVIRONMENT
    params:
        folder=subpath(output[0], parent=True),
    shell:
        "envs/build-verl.sh {wildcards.kind} {params.folder} > {log} 2>&1 && touch {output}"
