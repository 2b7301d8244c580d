"""SHIFT: the states' shift over one response, and the choice by it."""

import numpy as np
import pytest
import torch
from trainers import network

from gainrl.errors import DataError
from gainrl.signals.shift import anchor_states, coreset, quality


def test_states_are_means_over_layers_at_a_responses_first_and_last_token(tokenizer):
    model, layers = network(tokenizer), []
    for each in model.model.layers:
        each.register_forward_hook(lambda *seen: layers.append(_first(seen[-1])))
    prompts, responses = [[3, 4, 5], [6, 7], [8, 9, 10]], [[5, 6], [9, 3, 4], [4]]
    starts, ends = anchor_states(model, prompts, responses, batch_tokens=5)
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        layers.clear()
        with torch.no_grad():
            last = model.model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False)
        # The last layer's is taken after the norm, as transformers gives it.
        mean = torch.stack([*layers[:-1], last.last_hidden_state])[:, 0].mean(0).numpy()
        assert starts[i] == pytest.approx(mean[len(prompt)], abs=1e-5)
        assert ends[i] == pytest.approx(mean[-1], abs=1e-5)
    assert starts[2] == pytest.approx(ends[2])  # a response of one token moves nowhere
    assert quality(starts, ends)[2] == pytest.approx(0, abs=1e-6)
    assert quality(starts, ends)[:2].min() > 0.01


def _first(output):
    return output[0] if isinstance(output, tuple) else output


def test_an_empty_response_is_refused(tokenizer):
    with pytest.raises(DataError, match="response 1 is empty"):
        anchor_states(network(tokenizer), [[3], [4]], [[5], []])


def test_the_choice_weighs_how_far_states_move_with_how_unlike_they_are():
    """All starts 0, so f is the shift's direction: three alike, one at a right angle."""
    ends = np.array([[7.0, 0.0], [6.0, 0.0], [0.0, 1.0], [5.0, 0.0], [-1.0, 0.0]])
    starts = np.zeros_like(ends)
    assert quality(starts, ends) == pytest.approx(np.log([8, 7, 2, 6, 2]))
    # After the first: log 7 * 0, log 2 * sqrt 2 = .98, log 6 * 0, log 2 * 2 = 1.39; then log 2 *
    # sqrt 2 of the right angle; the others are where the first is, and go by position.
    assert coreset(starts, ends, 5).tolist() == [0, 4, 2, 1, 3]
    assert coreset(starts, ends, 2).tolist() == [0, 4]
