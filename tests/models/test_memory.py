"""Bytes of a checkpoint, compared with one of known size."""

import pytest

from gainrl.models import memory
from gainrl.models.shapes import KNOWN


def test_a_7b_checkpoint_has_the_size_of_a_real_one():
    model = KNOWN["Qwen/Qwen2.5-Math-7B-Instruct"]
    assert memory.CHECKPOINT * model.parameters == pytest.approx(122e9, rel=0.01)
