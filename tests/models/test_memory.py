"""Bytes on a GPU, worked by hand for a small model and compared with known sizes."""

import pytest

from gainrl.models import memory
from gainrl.models.shapes import KNOWN, Architecture

# 4 layers of 8 numbers; tied head of 100 rows: 800 + 4 * (64 + 2 * 32 + 64 + 3 * 128 + 16) + 8
SMALL = Architecture(
    layers=4, hidden=8, feed_forward=16, heads=2, kv_heads=1, head=4, vocabulary=100, tied=True
)


def test_states_are_sixteen_bytes_a_parameter_shared_out():
    assert SMALL.parameters == 3176
    assert memory.training_states(SMALL, gpus=1) == 16 * 3176
    assert memory.training_states(SMALL, gpus=4, critic=True) == 2 * 16 * 3176 / 4


@pytest.mark.parametrize("tied", [True, False])
def test_a_pass_keeps_a_state_a_layer_and_makes_logits_with_their_gradient(tied):
    model = Architecture(**{**vars(SMALL), "tied": tied})
    kept, output = 4 * 8 * 10, 2 * (800 + 10 * 100)
    assert memory.training_step(model, tokens=10) == 2 * (kept + output)


def test_a_layer_that_is_run_again_counts_where_it_is_more_than_the_logits():
    model = Architecture(**{**vars(SMALL), "vocabulary": 1})
    again = (8 * 8 + 2 * 4 + 3 * 16) * 1000 + 2 * 592
    assert memory.training_step(model, tokens=1000) == 2 * (4 * 8 * 1000 + again)


def test_vllm_has_weights_and_a_cache_in_two_bytes():
    assert memory.serving_weights(SMALL, tensor_parallel=2) == 3176
    assert memory.key_value_cache(SMALL, tokens=10) == 2 * 2 * 4 * 4 * 10
    # one head for keys and values: the second GPU holds a copy of it
    assert memory.key_value_cache(SMALL, tokens=10, tensor_parallel=2) == 640


def test_a_7b_checkpoint_has_the_size_of_a_real_one():
    model = KNOWN["Qwen/Qwen2.5-Math-7B-Instruct"]
    assert memory.CHECKPOINT * model.parameters == pytest.approx(122e9, rel=0.01)
