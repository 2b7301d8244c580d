"""gainrl: measure which data curriculum makes reinforcement fine-tuning faster."""

__version__ = "0.1.0"
