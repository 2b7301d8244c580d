"""Where files live, what a preset asks for, and checks that need more than one room.

The Snakefile and the command line both ask this module, so a path is written down once. It is
imported while the DAG is built: no torch here.
"""

from __future__ import annotations
