"""The signal of arrays of numpy: against the cosine matrix, and against torch's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gainrl.signals import angles_of_states, concentration
from gainrl.signals.angle import from_states

PREFIX, SUFFIX = 3, 2
SIZES = (1, 4, 7)


@pytest.fixture
def states():
    rng = np.random.default_rng(0)
    prefix = rng.standard_normal((PREFIX, 5))
    return [np.concatenate([prefix, rng.standard_normal((size + SUFFIX, 5))]) for size in SIZES]


def test_it_is_the_mean_of_the_blocks_of_the_cosine_matrix(states):
    found = angles_of_states(states, PREFIX, SUFFIX)
    for row, (tokens, size) in enumerate(zip(states, SIZES, strict=True)):
        norms = np.linalg.norm(tokens, axis=1)
        cosines = tokens @ tokens.T / np.outer(norms, norms)
        question = slice(PREFIX, PREFIX + size)
        block = cosines[question, question]
        assert found.intra[row] == pytest.approx(block.mean())
        assert found.inter[row] == pytest.approx(cosines[question, :PREFIX].mean())
        apart = block[~np.eye(size, dtype=bool)]
        assert found.intra_offdiagonal[row] == pytest.approx(apart.mean() if size > 1 else 0.0)
    assert found.combined(4.0) == pytest.approx(concentration(found.intra, found.inter, 4.0))


def test_it_is_what_a_device_computes(states):
    padded = np.zeros((len(states), max(map(len, states)), 5))
    for row, tokens in enumerate(states):
        padded[row, : len(tokens)] = tokens
    theirs = from_states(torch.tensor(padded), PREFIX, torch.tensor(SIZES))
    ours = angles_of_states(states, PREFIX, SUFFIX)
    for name in ("intra", "inter", "intra_offdiagonal"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name).numpy(), abs=1e-6)


def test_the_documents_example_runs():
    page = Path(__file__).resolve().parents[2] / "docs" / "signal.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(compile(example, str(page), "exec"), names)
    assert sorted(names["order"]) == list(range(8))
    assert np.isfinite(names["c"]).all()


def test_a_zero_vector_is_no_nan():
    found = angles_of_states([np.zeros((3, 4))], 1)
    assert (found.intra[0], found.inter[0]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("shape", "prefix", "message"),
    [
        ((4, 3), 0, "a prefix of at least one token"),
        ((4, 3), 4, r"prompt 0: states of shape \(4, 3\) hold no question after 4"),
        ((4,), 1, r"prompt 0: states of shape \(4,\)"),
    ],
)
def test_states_without_prefix_or_question_are_refused(shape, prefix, message):
    with pytest.raises(ValueError, match=message):
        angles_of_states([np.ones(shape)], prefix)
