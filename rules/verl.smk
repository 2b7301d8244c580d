# The environments of the verl backend. Local: compute nodes often reach no package registry.


localrules:
    verl_environment,


rule verl_environment:
    input:
        "envs/verl-{kind}.txt",
    output:
        ".environments/verl-{kind}/ready",
    log:
        ".environments/verl-{kind}.log",
    wildcard_constraints:
        kind="cuda|cpu",
    conda:
        ENVIRONMENT
    params:
        folder=subpath(output[0], parent=True),
    shell:
        "envs/build-verl.sh {wildcards.kind} {params.folder} > {log} 2>&1 && touch {output}"
