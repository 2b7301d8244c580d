"""Fixtures of several test files."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Small models are faster on one thread, whatever else the machine does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gradients(monkeypatch):
    """Gradients as they are when the optimiser would be called, before clipping."""
    import torch

    seen = []
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameters, limit):
        kept = list(parameters)
        seen.append([None if p.grad is None else p.grad.detach().clone() for p in kept])
        return clip(kept, limit)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    return seen


@pytest.fixture(scope="module")
def tokenizer():
    """The nano model's tokenizer."""
    from gainrl.models.nano import build_tokenizer

    return build_tokenizer()


@pytest.fixture(scope="module")
def table():
    """Twelve training prompts of the task chain."""
    from gainrl.config.data import Generated
    from gainrl.data.generate import generate_splits

    spec = Generated(source="generate", task="chain", train=12, eval=1)
    return generate_splits(spec, "chain")["train"]


@pytest.fixture(scope="module")
def prompts(tokenizer, table):
    """The table's questions, rendered."""
    from gainrl.data.prompts import encode

    return encode(tokenizer, list(table["id"]), list(table["question"]))
