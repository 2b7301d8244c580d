# `snakemake rehearse`: all that `all` makes, with small amounts, below results/<preset>-rehearsal; and
# in the end, whatever has failed, a table of its jobs and of what was measured.


rule rehearse:
    input:
        rules.all.input,


if rehearsal.requested(sys.argv[1:]):

    onsuccess:
        rehearsal_page()

    onerror:
        rehearsal_page()
