"""Fixtures of several test files, and how tests are shared out to processes."""

from __future__ import annotations

import os

import pytest

# Before torch is imported: one thread a process, for there may be one process a core, and sums
# depend on how they are split.
os.environ.setdefault("OMP_NUM_THREADS", "1")


WORKFLOW = "tests/workflow/"
ONE_PROJECT = WORKFLOW + "test_workflow"
"""How the files begin whose tests share the fixture `project`, the tiny preset's results."""


def pytest_report_header():
    """Which make of processor the digests of tests/workflow/test_portable.py held on."""
    from gainrl.config import arithmetic

    return f"processor: {arithmetic.processor()}"


def pytest_collection_modifyitems(items):
    """Those that share one project take longest, so they come first, and then the workflow's."""
    items.sort(
        key=lambda i: (not i.nodeid.startswith(ONE_PROJECT), not i.nodeid.startswith(WORKFLOW))
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `-n`: a file stays together, and so do those that share one project.

    Fixtures of a module and of the session are made once that way. (`--dist loadgroup` would be
    that, but pytest-xdist 3.8.0 does not see the groups of pytest 9.2.0.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return ONE_PROJECT if nodeid.startswith(ONE_PROJECT) else nodeid.partition("::")[0]

    return ByFile(config, log)


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
