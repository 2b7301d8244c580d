"""The probe of a run's snapshots, with answers and without."""

from __future__ import annotations

import pytest
from chat_models import ROWS, bytes_tokenizer, context_of, save
from presets import changed, error_of

from gainrl import plan
from gainrl.plan import Layout, RunKey
from gainrl.records import PROBE, read_table
from gainrl.report import plan as report_plan
from gainrl.stages import data, evaluate, prepare, prompts
from gainrl.stages.common import Context
from gainrl.stages.runs import train
from gainrl.stages.tracking import initialise_tracking
from gainrl.study.make import make_study_figure
from gainrl.study.measure import probe_run

KEY = RunKey("mine", "sums", "grpo", 0)


def with_probe(context: Context, samples: int) -> Context:
    """The preset with a study of its run, of whose prompts six are looked at."""
    how = {"method": "grpo", "every": 1, "prompts": 6, "samples": samples}
    studies = {"models": ["mine"], "datasets": ["sums"], "dynamics": how}
    return Context(plan.load({**context.preset.model_dump(), "studies": studies}), context.root)


@pytest.mark.usefixtures("one_thread")
def test_figure_4_needs_no_answers(tmp_path):
    context = context_of(tmp_path, save(tmp_path / "given", bytes_tokenizer(), ROWS))
    context = with_probe(context, 0)
    initialise_tracking(context)
    data.prepare_data(context, "sums")
    prepare.build_model(context, "mine")
    prompts.choose_prompts(context, "mine", "sums")
    evaluate.evaluate_start(context, "mine", "sums")
    train(context, [KEY])
    probe_run(context, KEY)
    table = read_table(context.layout.probe(KEY), PROBE)
    assert table.groupby("step").size().to_dict() == {0: 6, 1: 6}
    assert table["samples"].eq(0).all()
    answered = with_probe(context, 2)
    probe_run(answered, KEY)
    both = read_table(context.layout.probe(KEY), PROBE)
    assert both["samples"].eq(2).all()
    assert both["c"].tolist() == pytest.approx(table["c"].tolist())
    make_study_figure(context, "figure4", context.root / "figures" / "figure4.png")


def drawn(samples: int) -> list[str]:
    how = {"method": "grpo", "every": 2, "samples": samples}
    studies = {"models": ["nano"], "datasets": ["chain"], "dynamics": how}
    found = report_plan.results(plan.load(changed("studies", to=studies)), Layout("small"))
    return [name.removeprefix("figures/") for name in found if "figures/" in name]


def test_without_answers_only_figure_4_is_drawn():
    assert [name for name in drawn(4) if name in ("figure4", "figure5", "figure6")] == [
        "figure4",
        "figure5",
        "figure6",
    ]
    assert [name for name in drawn(0) if name in ("figure4", "figure5", "figure6")] == ["figure4"]


def test_what_is_learnt_first_needs_answers():
    how = {"method": "grpo", "every": 2, "samples": 0}
    content = changed("studies", to={"models": ["nano"], "datasets": ["chain"], "dynamics": how})
    claim = {"statement": "s", "measure": "learnt_first", "threshold": 0.1}
    content["claims"] = {"first": claim}
    assert "needs studies.dynamics.samples" in error_of(content)
