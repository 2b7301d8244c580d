"""Every stage as a function from files to files; the rules and the command line call these."""
