# `snakemake rehearse`: all that `all` makes, with small amounts, below results/<preset>-rehearsal; and
# in the end, whatever has failed, a table of its jobs and of what was measured.


rule rehearse:
    input:
        rules.all.input,


# What a user is to see last: a rehearsal's page; else what was found, or what failed and why.
# The store comes after it: a full disk, which stops that too, is to be read of.
onsuccess:
    rehearsal_page() if preset is not whole else say_answers()
    sync_journals()


onerror:
    rehearsal_page() if preset is not whole else say_failures()
    sync_journals()
