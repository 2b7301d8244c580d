"""verl agent loop plugin: every problem of a test is sampled as its benchmark says.

Made by verl's agent loop workers (agents.yaml, `rollout.agent.agent_loop_config_path`). verl itself
has one setting for all tests.
"""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop


class TestAgentLoop(SingleTurnAgentLoop):
    """verl's own, with the temperature, nucleus and length of the row's benchmark."""

    __test__ = False  # it is no test class

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """One response."""
        asked = row["extra_info"]["sampling"]
        self.response_length = asked["max_tokens"]  # else it is cut to that of training
        return await super().run({**sampling_params, **asked}, **row)
