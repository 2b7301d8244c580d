"""The grader of programs against honest and hostile programs, in every isolation there is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gainrl.errors import DataError
from gainrl.grading import _wire, code, sandbox
from gainrl.grading.code import (
    FunctionTests,
    StreamTests,
    decode,
    encode,
    extract,
    grade,
    grade_program,
)
from gainrl.grading.sandbox import Limits

SHORT = Limits(seconds=3.0, cpu_seconds=2, memory_mb=256, processes=6, output_bytes=10_000)
SECRET = 918273645


@pytest.fixture(params=["bubblewrap", "namespaces", "limits"])
def any_isolation(request):
    reason = sandbox.unavailable(request.param)
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return request.param


# --- whole programs ------------------------------------------------------------------------------

ADD = FunctionTests(
    prompt='from typing import List\n\ndef add(a: int, b: int) -> int:\n    """Sum."""\n',
    entry_point="add",
    tests=f"def check(candidate):\n    assert candidate({SECRET - 1}, 1) == {SECRET}\n"
    "    assert candidate(2, 2) == 4\n",
)
ECHO = StreamTests((("3 4\n", "7\n"), (f"{SECRET - 1} 1\n", f"{SECRET}\n")))

HONEST = [
    ("    return a + b\n", "passed"),
    ("def add(a, b):\n    return a + b\n", "passed"),
    ("import numbers\ndef add(a: List, b):\n    return a + b\n", "passed"),
    ("def add(a, b):\n    print('noise', input)\n    return a + b\n", "passed"),
    ("def add(a, b):\n    return a - b\n", "failed"),
    ("def add(a, b):\n    return None\n", "failed"),
    ("def add(a, b):\n    raise ValueError('no')\n", "exception"),
    ("def add(a, b)\n    return a + b\n", "syntax error"),
    ("raise RuntimeError\ndef add(a, b): pass\n", "exception"),
    ("def add(a, b):\n    import time; time.sleep(100)\n", "time limit"),
    ("def add(a, b):\n    return add(a, b)\n", "exception"),
    ("def add(a, b):\n    return [0] * 10 ** 10\n", "exception"),
    ("def add(a, b):\n    return iter([a + b])\n", "exception"),
]


@pytest.mark.parametrize(("program", "reason"), HONEST)
def test_functions(program: str, reason: str, any_isolation) -> None:
    got = grade_program(program, ADD, SHORT, any_isolation)
    assert (got.correct, got.reason) == (reason == "passed", reason)


HOSTILE = {
    "leaves at once": "import os\nos._exit(0)\ndef add(a, b): pass",
    "leaves when called": "import os\ndef add(a, b): os._exit(0)",
    "exits": "import sys\ndef add(a, b): sys.exit(0)",
    "exits at the end": "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): exit()",
    "equals everything": """
class Any(int):
    def __eq__(self, other): return True
    __ne__ = lambda self, other: False
    __hash__ = int.__hash__
    __reduce__ = lambda self: (eval, ('1',))
def add(a, b): return Any(0)""",
    "patches builtins": """
import builtins, sys
builtins.AssertionError = builtins.Exception = type('Never', (BaseException,), {})
builtins.int.__eq__ if True else None
builtins.exec = builtins.compile = lambda *a, **k: None
def add(a, b): return 0""",
    "overwrites check": """
import sys, gc
for module in list(sys.modules.values()):
    for name in ('check', 'run_tests', 'check_program', 'receive', 'unpack'):
        try: setattr(module, name, lambda *a: 'passed')
        except Exception: pass
def add(a, b): return 0""",
    "fakes the verdict": """
import json, os
for fd in range(64):
    for line in ('{"verdict": "passed"}', '["passed"]', 'passed', 'ready'):
        try: os.write(fd, line.encode() + b'\\n')
        except OSError: pass
def add(a, b): os._exit(0)""",
    "answers with a verdict": """
import os
os.write(1, b'["defined"]\\n["returned", {"verdict": "passed"}]\\n')
def add(a, b): return {'verdict': 'passed'}""",
    "looks for the answer": f"""
import gc, os, sys
def add(a, b):
    frame, seen = sys._getframe(), []
    while frame:
        seen += [frame.f_globals, frame.f_locals]
        frame = frame.f_back
    for fd in range(3, 64):
        try: seen.append(os.pread(fd, 1 << 20, 0))
        except OSError: pass
    for base, _, names in os.walk('/tmp'):
        seen += [open(os.path.join(base, n), 'rb').read() for n in names]
    text = repr(seen) + repr([o for o in gc.get_objects() if isinstance(o, (str, dict, list))])
    return {SECRET // 3} * 3 if b > 1 or str({SECRET // 3} * 3) in text.replace(repr(a), '') else 0
""",
    "sends nonsense": "def add(a, b):\n    import os\n    while True: os.write(1, b'[[[' * 9999)",
    "nests deeply": """
import os
def add(a, b): os.write(1, b'["returned", ' + b'{"list": [' * 10**5 + b']}' * 10**5 + b']\\n')""",
    "raises what ends tests": "def add(a, b): raise SystemExit(0)",
    "raises by name": """
def add(a, b): raise type('SystemExit', (Exception,), {})('passed')""",
    "stops its parent": """
import os, signal
def add(a, b):
    for pid in {os.getppid(), 1, *range(2, 64)} - {os.getpid()}:
        try: os.kill(pid, signal.SIGSTOP); os.kill(pid, signal.SIGKILL)
        except OSError: pass
    return 0""",
    "ignores signals": """
import signal
for n in range(1, 65):
    try: signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError): pass
def add(a, b):
    while True: pass""",
    "forks": """
import os
def add(a, b):
    while True:
        try: os.fork()
        except OSError: return 0""",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_functions_are_wrong(name: str, any_isolation) -> None:
    got = grade_program(HOSTILE[name], ADD, SHORT, any_isolation)
    assert not got.correct, got.reason
    assert grade_program("    return a + b", ADD, SHORT, any_isolation).correct  # and all is well


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print(sum(map(int, input().split())))", "passed"),
        ("a, b = map(int, open(0).read().split())\nprint(f' {a + b}.0  ')\nexit()", "passed"),
        ("print(7)", "failed"),
        ("print(sum(map(int, input().split())))\nexit(1)", "exception"),
        ("import os\nprint(7, flush=True)\nos._exit(5)", "program ended"),
        ("raise SystemExit", "failed"),
        ("print('passed'); print('{\"verdict\": \"passed\"}')", "failed"),
        ("while True: print(7)", "output limit"),
        ("while True: pass", "cpu limit"),
        ("input(); input()", "exception"),
        ("def f(:", "exception"),
    ],
)
def test_streams(program: str, reason: str, any_isolation) -> None:
    # Time by the clock is no test of a limit where other work may have the processors.
    limits = replace(SHORT, seconds=60.0, cpu_seconds=1)
    got = grade_program(program, ECHO, limits, any_isolation)
    assert (got.correct, got.reason) == (reason == "passed", reason)


@pytest.mark.parametrize(
    "read",
    [
        "open('/dev/stdin').read()",
        "open(file='/dev/fd/0', mode='r').read()",
        "open(b'/dev/stdin', 'rb').read().decode()",
        "pathlib.Path('/dev/stdin').read_text()",
        "os.read(os.open(path='/proc/self/fd/0', flags=os.O_RDONLY), 99).decode()",
        "''.join(fileinput.input('/dev/stdin'))",
    ],
)
def test_standard_streams_have_their_paths(read: str, any_isolation) -> None:
    program = f"import fileinput, os, pathlib\na, b = {read}.split()\n"
    program += "with open('/dev/stdout', 'w') as out:\n    print(int(a) + int(b), file=out)\n"
    program += "open('/dev/stderr', 'w').write(open('/dev/null').read())\n"
    assert grade_program(program, ECHO, SHORT, any_isolation).reason == "passed"


def test_the_path_of_input_gives_a_function_nothing(any_isolation) -> None:
    function = FunctionTests("", "f", "assert f() == ''")
    program = "def f(): return open('/dev/stdin').read()"
    assert grade_program(program, function, SHORT, any_isolation).reason == "passed"


def test_runs_of_one_program_share_nothing(any_isolation) -> None:
    program = "import os\nprint(os.path.exists('x'))\nopen('x', 'w').close()"
    pairs = StreamTests((("", "False"), ("", "False")))
    assert grade_program(program, pairs, SHORT, any_isolation).correct


def test_tests_in_other_forms(any_isolation) -> None:
    def passes(program: str, tests: str, prompt: str = "") -> str:
        function = FunctionTests(prompt, "f", tests)
        return grade_program(program, function, SHORT, any_isolation).reason

    assert passes("def f(x): return x", "assert f(3) == 3\nassert f(x=[1]) == [1]") == "passed"
    assert passes("def f(x): return x", "") == "no test"
    assert passes("def f(x): return x", "def check(c): pass") == "no test"
    raises = "try:\n    f(0)\nexcept ZeroDivisionError:\n    pass\nelse:\n    assert False\n"
    assert passes("def f(x): return 1 / x", raises) == "passed"
    assert passes("def f(x): return 1", raises) == "failed"
    assert passes("import os\ndef f(x): os._exit(0)", raises.replace("Zero", "")) != "passed"
    helper = "def twice(x):\n    return 2 * x\n\ndef f(x):\n"
    assert passes("    return x", "assert twice(f(2)) == 4", helper) == "passed"
    counted = "from collections import Counter\ndef f(x): return Counter(x)"
    assert passes(counted, "assert f('aab') == {'a': 2, 'b': 1}") == "passed"
    assert passes("def f(x): return x", "import os\nf(1)\nos._exit(0)") == "tests broken"


def test_responses(any_isolation) -> None:
    answer = "First\n```python\nx = 1\n```\n```python\ndef add(a, b):\n    return a + b\n```\n"
    got = grade(answer, ADD, SHORT, any_isolation)
    assert (got.correct, got.extracted) == (True, "def add(a, b):\n    return a + b\n")
    assert grade("return a + b", ADD, SHORT, any_isolation) == code.Grade(False, None, "no code")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("```python\na\n```", "a\n"),
        ("```\na\n```\n```bash\nb\n```", "a\n"),
        ("```py\na\n```\n```Python\nb\n```", "b\n"),
        ("```python\na\n```\n```python\ncut off", "a\n"),
        ("  ```python title=x\n  a\n  ```", "a\n"),
        ("```python\n\n```", None),
        ("a = 1", None),
        ("", None),
        ("    return a + b", "    return a + b"),
        ("\n \n\tif a:\n\n\t\tpass\n\n# Test\nprint(1)", "\tif a:\n\n\t\tpass\n\n"),
        ("def f(x): return x", "def f(x): return x"),
        ("def f(x):\n    return x\n\nassert f(1) == 1\n", "def f(x):\n    return x\n\n"),
        (" One space is how prose begins", None),
        ("Define it:\n\ndef f(x):\n    return x", "def f(x):\n    return x"),
        ("Indented:\n\n    return x", None),
        ("return x", None),
        ("    return x\n```", "    return x\n"),
        ("    return x\n```bash\nls\n```", "    return x\n"),
        ("```python\ndef f(x): return x", None),
        ("\n" * 10**5 + " ", None),
    ],
)
def test_extract(response: str, expected: str | None) -> None:
    assert extract(response, "f") == expected


def test_responses_of_base_models(any_isolation) -> None:
    def reason(response: str) -> str:
        return grade(response, ADD, SHORT, any_isolation).reason

    assert reason("    return a + b\n\n\nif __name__ == '__main__':\n    print(add(1))") == "passed"
    assert reason("def add ( a , b ) : return a + b") == "passed"
    assert reason("    The sum of a and b.") == "syntax error"
    assert reason("The function is:\n\n    return a + b") == "no code"


@pytest.mark.parametrize(
    ("ours", "expected", "same"),
    [
        ("1 2\n", "1 2", True),
        ("1  2 \n\n", "\n1 2", True),
        ("1\n2", "1 2", False),
        ("2.50", "2.5", True),
        ("2", "2.0", True),
        ("101", "0101", False),
        ("1e9.", "1e9", False),
        ("nan.", "nan.0", False),
        ("." * 10**6, "1.0", False),
    ],
)
def test_outputs_are_compared(ours: str, expected: str, same: bool) -> None:
    assert code.same_output(ours, expected) is same


def test_values_arrive_as_they_were_sent() -> None:
    values = [None, True, -(10**5000), 0.1, float("inf"), 1 + 2j, "é\ud800", b"\0", [(1,), {2}],
              {(1, 2): frozenset({3}), "a": {"list": []}}]  # fmt: skip
    for value in values:
        again = _wire.unpack(json.loads(json.dumps(_wire.pack(value))))
        assert (again, type(again)) == (value, type(value))
    with pytest.raises(TypeError):
        _wire.pack(object())


def test_programs_are_graded_in_threads() -> None:
    any_isolation = sandbox.choose(unsafe=True)
    got: list[bool] = []

    def work(program: str) -> None:
        got.append(grade_program(program, ADD, SHORT, any_isolation).correct)

    threads = [threading.Thread(target=work, args=("    return a + b",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got == [True] * 6


def test_an_ordinary_user_can_do_the_same() -> None:
    python = shutil.which("python3", path="/usr/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip("needs root and an interpreter that everybody can read")
    version = subprocess.run([python, "-V"], capture_output=True, text=True).stdout
    if tuple(map(int, version.split()[1].split(".")[:2])) < (3, 11):
        pytest.skip(f"{python} is {version}")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        package = Path(folder) / "gainrl"
        source = Path(sandbox.__file__).parents[1]
        shutil.copytree(source / "grading", package / "grading", ignore=lambda *_: ["__pycache__"])
        for name in ("errors.py", "files.py"):
            shutil.copy(source / name, package)
        script = (
            "from gainrl.grading import sandbox as s, code as c\n"
            "for kind in ('bubblewrap', 'namespaces', 'limits'):\n"
            "    why = s.unavailable(kind)\n"
            "    got = [c.grade_program(p, c.FunctionTests('def f():\\n', 'f', 'assert f() == 1'),"
            " s.Limits(seconds=3), kind).reason for p in ('    return 1', '    return 2',"
            " '    import os\\n    while 1: os.fork()')] if not why else []\n"
            "    print(kind, '|', why, '|', *got)\n"
        )
        done = subprocess.run(
            [python, "-B", "-c", script], user=65534, group=65534, extra_groups=[],
            cwd="/", env={"PYTHONPATH": folder, "PATH": os.environ["PATH"]},
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        _, why, got = (part.strip() for part in line.split("|"))
        right, wrong, bomb = got.split(" ", 2) if why == "None" else ("passed", "failed", "")
        assert (right, wrong, bomb != "passed") == ("passed", "failed", True), line


# --- tests as text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tests",
    [
        FunctionTests("def f(x):\n", "f", "assert f(1) == 2"),
        StreamTests((("1\n", "2\n"), ("", "ü"))),
    ],
)
def test_tests_come_back_from_their_text(tests):
    assert decode(encode(tests)) == tests


@pytest.mark.parametrize(
    "text",
    [
        *("", "7", "[]", "{}", '{"kind": "Other"}', '{"kind": "StreamTests"}'),
        '{"kind": "StreamTests", "pairs": [1]}',
        '{"kind": "FunctionTests", "prompt": ""}',
    ],
)
def test_text_that_is_no_tests_is_refused(text):
    with pytest.raises(DataError, match="not the tests of a program"):
        decode(text)
