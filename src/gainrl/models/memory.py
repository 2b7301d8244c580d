"""Bytes of a model's weights and checkpoints. No torch; memory of GPUs: training.verl.memory."""

GIB = 1 << 30
CHECKPOINT = 16
"""Of a parameter in a checkpoint: weight, AdamW's two moments, and the weight once more in a
Hugging Face folder, fp32."""
HALF = 2
"""Of a number in bf16."""
