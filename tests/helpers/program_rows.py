"""Rows of program data sets in the formats of their sources, small."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    '''Sum.'''\n",
    "entry_point": "total",
    "canonical_solution": "    return sum(xs)\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2]) == 3\n"
    "    assert candidate([]) == 0\n",
}
TWO_SUM = "class Solution:\n    def pair(self, nums: List[int], goal: int) -> List[int]:\n        "
TWO_SUM_SOLUTION = """class Solution:
    def pair(self, nums: List[int], goal: int) -> List[int]:
        seen = defaultdict(int)
        for i, x in enumerate(nums):
            if goal - x in seen:
                return (seen[goal - x], i)
            seen[x] = i
"""
DOUBLE = "print(2 * int(input()))"


def packed(content: Any) -> str:
    """Hidden tests as LiveCodeBench packs them; bytes are a pickle that is made already."""
    pickled = content if isinstance(content, bytes) else pickle.dumps(json.dumps(content))
    return base64.b64encode(zlib.compress(pickled)).decode()


def cases(kind: str, *pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"input": given, "output": result, "testtype": kind} for given, result in pairs]


def contest(date: str, **columns: Any) -> dict[str, Any]:
    """A LiveCodeBench problem that reads and writes: twice a number."""
    row = {
        "question_title": "double",
        "question_content": "Print twice the number.\n",
        "platform": "atcoder",
        "question_id": f"q{date}",
        "contest_id": "c",
        "contest_date": f"{date}T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(cases("stdin", ("1\n", "2"))),
        "private_test_cases": packed(cases("stdin", ("5\n", "10\n"))),
        "metadata": "{}",
    }
    return {**row, **columns}


def leetcode(date: str) -> dict[str, Any]:
    """A LiveCodeBench problem with a method; its hidden tests are plain JSON."""
    return contest(
        date,
        question_content="Two numbers with a sum.",
        platform="leetcode",
        starter_code=TWO_SUM,
        difficulty="medium",
        public_test_cases=json.dumps(cases("functional", ("[2, 7, 11]\n9", "[0, 1]"))),
        private_test_cases=json.dumps(cases("functional", ("[3, 3]\n6", "[0, 1]"))),
        metadata=json.dumps({"func_name": "pair"}),
    )


def deepcoder(tests: Any, problem: str = "Do it.", **columns: Any) -> dict[str, Any]:
    return {"problem": problem, "tests": json.dumps(tests), **columns}


STREAMS_LIST = [{"input": "1\n", "output": "2\n"}, {"input": "5", "output": "10"}]
PRIME_STREAMS = [{"type": "stdin_stdout", **case} for case in STREAMS_LIST]
PRIME_CALLS = [
    {"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]},
    {"type": "function_call", "fn_name": "add", "input": [0.1, 0.2], "output": [0.3]},
]
TACO_STREAMS = {"inputs": ["1\n", ["5"]], "outputs": ["2", ["10"]]}
TACO_CALLS = {"fn_name": "add", "inputs": [[1, 2], [2, 2]], "outputs": [[3], [4]]}
TACO_LISTS = {"fn_name": "both", "inputs": [[1, 2], [2, 2]], "outputs": [[1, 2], [2, 2]]}
LCB_CALLS = cases("functional", ("[2, 7, 11]\n9", "[0, 1]"), ("[3, 3]\n6", "[0, 1]"))


def write_lines(path: Path, rows: list[Any]) -> Path:
    """JSON lines, in a gzip file if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path
