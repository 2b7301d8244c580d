"""Answers prompts with vLLM; runs in the environment that has it, as `python -m` with a job file.

The job (JSON): model folder, requests (row, sample, seed, tokens, max_tokens), sampling, ends,
seed, engine (arguments of vLLM's engine). On standard output, one JSON line each: the version
first, then the answers in the order in which they are finished. Everything else goes to standard
error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO


def main(path: str) -> None:
    """Answer everything that the job asks for."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM and what it starts print to standard output
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    import vllm
    from vllm import EngineArgs, LLMEngine
    from vllm.platforms import current_platform

    if job["engine"].get("dtype") == "auto":  # as gainrl.models.loading.load_model
        job["engine"]["dtype"] = "float32" if current_platform.is_cpu() else "bfloat16"
    engine = LLMEngine.from_engine_args(
        EngineArgs(
            model=job["model"],
            tokenizer=job["model"],
            enable_prefix_caching=True,
            disable_log_stats=True,
            seed=job["seed"],
            **job["engine"],
        )
    )
    # On a CPU a request's own seed ends the engine: its generators have no offset.
    seeded = not current_platform.is_cpu()
    _say(out, {"version": f"vllm {vllm.__version__}", "seeded": seeded})
    for number, request in enumerate(job["requests"]):
        engine.add_request(
            str(number),
            {"prompt_token_ids": request["tokens"]},
            _sampling(job, request["max_tokens"], request["seed"] if seeded else None),
        )
    while engine.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                request, (answer,) = job["requests"][int(output.request_id)], output.outputs
                _say(
                    out,
                    {
                        "row": request["row"],
                        "sample": request["sample"],
                        "tokens": list(answer.token_ids),
                        "ended": answer.finish_reason == "stop",
                    },
                )


def _sampling(job: dict[str, Any], max_tokens: int, seed: int | None) -> Any:
    from vllm import SamplingParams

    wanted = job["sampling"]
    return SamplingParams(
        temperature=wanted["temperature"],
        top_p=wanted["top_p"],
        max_tokens=max_tokens,
        stop_token_ids=job["ends"],
        detokenize=False,
        seed=seed,
    )


def _say(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1])
