"""Training at scale: verl 0.9.1 through its plugin points, driven by the same curricula.

`settings` runs in gainrl's own environment; `entry`, `trainer`, `engine` and `reward` in verl's.
"""
