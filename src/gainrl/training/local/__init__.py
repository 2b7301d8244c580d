"""The in-process torch trainer: a readable reference for a CPU or one GPU."""
