"""The known data sets of problems in mathematics. Pure data: see gainrl.data.registry.

Their grader is "maths", but for Minerva, whose physical quantities are compared with a tolerance.
"""

from __future__ import annotations

from dataclasses import replace

from gainrl.config.data import DifficultyColumn, Fields
from gainrl.data.entry import Entry, Equals, HubTable, Layout, Split

_MATH_LEVEL = DifficultyColumn(column="level", scale="difficulty", range=(1, 5))
_MATH_LEVEL_COPIED = DifficultyColumn(column="difficulty", scale="difficulty", range=(1, 5))
_CONTEST = DifficultyColumn(column="difficulty", scale="difficulty", range=(1, 7))

_GSM8K_HUB = Layout(
    Fields(question="question", answer="answer", solution="answer"),
    answer_as="hashes",
    solution_as="without_calculator",
)
_MATH_500 = Split(
    rows=500,
    hub=HubTable("HuggingFaceH4/MATH-500", "test"),
    layout=Layout(
        Fields(
            question="problem",
            answer="answer",
            solution="solution",
            difficulty=_MATH_LEVEL,
            category="subject",
        ),
        difficulty_as="level",
    ),
    local="math_eval.json",
    local_layout=Layout(
        Fields(question="problem", answer="answer", difficulty=_MATH_LEVEL_COPIED),
        difficulty_as="level",
    ),
)
_AMC_23 = Split(
    rows=83,
    hub=HubTable("AI-MO/aimo-validation-amc", "train"),
    layout=Layout(Fields(question="problem", answer="answer")),
    local="amc_eval.json",
    local_layout=Layout(Fields(question="problem", answer="answer", difficulty=_CONTEST)),
)

_OLYMPIADBENCH = Split(
    rows=675,
    hub=HubTable("Hothan/OlympiadBench", "train", config="OE_TO_maths_en_COMP"),
    layout=Layout(
        Fields(
            question="question",
            answer="final_answer",
            solution="solution",
            category="subfield",
        ),
        answer_as="joined",
        solution_as="paragraphs",
    ),
    local="olympiad_bench.json",
    local_layout=Layout(
        Fields(
            question="problem",
            answer="answer",
            solution="solution",
            category="subfield",
        ),
        answer_as="joined",
        solution_as="paragraphs",
    ),
)

MATHS = (
    Entry(
        name="gsm8k",
        licence="MIT",
        answers="number",
        grader="maths",
        train=Split(
            rows=7473,
            hub=HubTable("openai/gsm8k", "train", config="main"),
            layout=_GSM8K_HUB,
            local="gsm8k_train.parquet",
            local_layout=Layout(
                Fields(
                    question="extra_info.question",
                    answer="extra_info.answer",
                    solution="extra_info.answer",
                ),
                answer_as="hashes",
                solution_as="without_calculator",
            ),
        ),
        eval=Split(
            rows=1319,
            hub=HubTable("openai/gsm8k", "test", config="main"),
            layout=_GSM8K_HUB,
            local="gsm8k_eval.json",
            # Its own 'answer' is null in every row, and its difficulty is a constant -1.
            local_layout=Layout(
                Fields(question="problem", answer="solution", solution="solution"),
                answer_as="hashes",
                solution_as="without_calculator",
            ),
        ),
    ),
    Entry(
        name="math",
        licence="MIT",
        answers="latex",
        grader="maths",
        train=Split(
            rows=7474,
            hub=HubTable("DigitalLearningGmbH/MATH-lighteval", "train"),
            layout=Layout(
                Fields(
                    question="problem",
                    answer="solution",
                    solution="solution",
                    difficulty=_MATH_LEVEL,
                    category="type",
                ),
                answer_as="boxed",
                difficulty_as="level",
            ),
            local="math_train.json",
            local_layout=Layout(
                Fields(
                    question="problem",
                    answer="answer",
                    difficulty=_MATH_LEVEL_COPIED,
                    category="type",
                ),
                difficulty_as="level",
            ),
            unanswered=4,
        ),
        eval=_MATH_500,
    ),
    Entry(
        name="math500",
        licence="MIT",
        answers="latex",
        grader="maths",
        eval=_MATH_500,
    ),
    Entry(
        name="amc",
        licence="competition problems of the MAA",
        answers="latex",
        grader="maths",
        train=Split(
            rows=3264,
            hub=None,
            layout=Layout(
                Fields(
                    question="prompt.0.content",
                    answer="reward_model.ground_truth",
                    solution="reward_model.ground_truth",
                    difficulty=_CONTEST,
                ),
                question_as="without_instruction",
                answer_as="boxed",
            ),
            local="amc_train.parquet",
        ),
        eval=_AMC_23,
    ),
    Entry(
        name="amc23",
        licence="competition problems of the MAA",
        answers="number",
        grader="maths",
        eval=_AMC_23,
    ),
    Entry(
        name="aime24",
        licence="competition problems of the MAA",
        answers="number",
        grader="maths",
        eval=Split(
            rows=30,
            hub=HubTable("HuggingFaceH4/aime_2024", "train"),
            layout=Layout(Fields(question="problem", answer="answer", solution="solution")),
            local="aime_eval.json",
            local_layout=Layout(
                Fields(
                    question="problem",
                    answer="answer",
                    solution="solution",
                    difficulty=_CONTEST,
                )
            ),
        ),
    ),
    Entry(
        name="olympiadbench",
        licence="Apache-2.0",
        answers="latex",
        grader="maths",
        eval=_OLYMPIADBENCH,
    ),
    Entry(
        name="olympiadbench-single",
        licence="Apache-2.0",
        answers="latex",
        grader="maths",
        eval=replace(_OLYMPIADBENCH, rows=581, only=Equals("is_multiple_answer", False)),
    ),
    Entry(
        name="minerva",
        licence="CC BY-NC-SA 4.0 (MIT OpenCourseWare)",
        answers="latex",
        grader="maths-tolerant",
        eval=Split(
            rows=272,
            hub=HubTable("math-ai/minervamath", "test"),
            layout=Layout(Fields(question="question", answer="answer")),
            local="minerva_eval.json",
            local_layout=Layout(
                Fields(question="problem", answer="answer", solution="solution", category="type"),
                answer_as="alternatives",
            ),
        ),
    ),
    Entry(
        name="deepscaler",
        licence="MIT",
        answers="latex",
        grader="maths",
        train=Split(
            rows=40315,
            hub=HubTable("agentica-org/DeepScaleR-Preview-Dataset", "train"),
            layout=Layout(Fields(question="problem", answer="answer", solution="solution")),
        ),
    ),
)
