"""Responses that share a prompt's row: the same log-probabilities as alone, and nothing lost."""

import numpy as np
import pytest
import torch
from trainers import PAD, network, plain_log_probabilities

from gainrl.training.packing import Suffix, log_probabilities, micro_batches, pack, split_rows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("row_tokens", "counts"), [(1, [12]), (70, range(4, 12)), (512, [3])])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_packed_log_probabilities_equal_plain_ones(
    tokenizer, prompts, row_tokens, counts, temperature
):
    model, rng = network(tokenizer), np.random.default_rng(0)
    responses = [rng.integers(2, 200, size).tolist() for size in (1, 12, 7, 20) * 3]
    rows = []
    for i in range(3):
        suffixes = [Suffix(k, responses[k]) for k in range(4 * i, 4 * i + 4)]
        rows += split_rows(prompts.tokens[i], suffixes, row_tokens, i)
    assert len(rows) in counts
    seen = set()
    with torch.no_grad():
        for batch in micro_batches(rows, 400):
            packed = pack(batch, PAD)
            picked, entropy = log_probabilities(model, packed, temperature)
            for k in sorted(set(packed.suffix.tolist())):
                alone, spread = plain_log_probabilities(
                    model, prompts.tokens[k // 4], responses[k], temperature
                )
                mine = packed.suffix == k
                torch.testing.assert_close(picked[mine], alone, atol=1e-5, rtol=0)
                torch.testing.assert_close(entropy[mine], spread, atol=1e-4, rtol=0)
                seen.add(k)
    assert seen == set(range(12))


def test_micro_batches_keep_to_the_budget_and_lose_nothing(prompts):
    rows = [
        row
        for i, size in enumerate((3, 30, 12, 5, 80))
        for row in split_rows(prompts.tokens[i], [Suffix(i, [7] * size)], 50, i)
    ]
    batches = list(micro_batches(rows, 120))
    assert sorted(row.index for batch in batches for row in batch) == list(range(5))
    for batch in batches:
        assert len(batch) == 1 or max(row.length for row in batch) * len(batch) <= 120
    assert 1 < len(batches) < 5
