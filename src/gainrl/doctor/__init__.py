"""Whether a machine and its cluster can run a preset, found out in seconds before any job."""
