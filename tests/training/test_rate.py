"""The learning rate over a run."""

import pytest
from presets import changed, error_of

from gainrl import plan
from gainrl.training.rate import share_of_rate


def test_the_rate_falls_linearly_by_rex_or_not_at_all():
    """Of four steps; REX at a half: 1/2 / (1/2 + 1/4) = 2/3, at a quarter 1/4 / (5/8) = 2/5."""
    shares = {
        name: [share_of_rate(name, step, 4) for step in range(6)]
        for name in ("constant", "linear", "rex")
    }
    assert shares["constant"] == [1] * 6
    assert shares["linear"] == [1, 0.75, 0.5, 0.25, 0.25, 0.25]
    assert shares["rex"] == pytest.approx([1, 6 / 7, 2 / 3, 2 / 5, 2 / 5, 2 / 5])


def test_a_method_may_have_a_schedule_of_its_own_but_not_by_tokens():
    data = changed("methods", "gain", "training", to={"lr_schedule": "rex"})
    preset = plan.load(data)
    found = [preset.training_for("chain", "nano", name).lr_schedule for name in ("grpo", "gain")]
    assert found == ["constant", "rex"]
    data["training"] |= {"tokens": 500, "tests": 2}
    assert "lr_schedule 'rex' falls over `steps`, but `tokens` ends the run" in error_of(data)
