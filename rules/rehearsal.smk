# `snakemake rehearse`: all that `all` makes, with small amounts, below results/<preset>-rehearsal; and
# in the end, whatever has failed, a table of its jobs and of what was measured.


rule rehearse:
    input:
        rules.all.input,


# What a user is to see last: a rehearsal's page; else what was found, or what failed and why.
onsuccess:
    sync_journals()
    rehearsal_page() if preset is not whole else say_answers()


onerror:
    sync_journals()
    rehearsal_page() if preset is not whole else say_failures()
