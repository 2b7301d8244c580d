"""A backend that has no options and draws once a step, as a preset names one of its own."""

from gainrl.plan.backends import Backend


class PlainBackend(Backend):
    """It trains nothing here."""

    name = "plain"
    trainer = "gainrl.stages.train_local:LocalRun"
