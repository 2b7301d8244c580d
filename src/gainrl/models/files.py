"""Names of gainrl's own files in a model's folder."""

PROVENANCE = "gainrl.json"
"""Where a model comes from; written last."""
WARMUP = "warmup.jsonl"
"""Losses of the warm-up."""
EXTRAPOLATION = "extrapolation.json"
"""Which two models' line its weights lie on."""
