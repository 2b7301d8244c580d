"""Chat templates that lose or refuse what they are given, and the arguments that they take."""

from __future__ import annotations

import pytest
from chat_models import PLAIN, bytes_tokenizer, context_of, save
from presets import changed, error_of

from gainrl import plan
from gainrl.data.prompts import Renderer
from gainrl.data.templates import check_template, dated, render, template_hash
from gainrl.errors import DataError, ModelError
from gainrl.plan import RunKey
from gainrl.plan.benchmarks import Test, test_slice
from gainrl.records import PROMPTS, read_table, write_json, write_table
from gainrl.stages import benchmark
from gainrl.stages.data import prepare_data
from gainrl.stages.evaluate import evaluate_start
from gainrl.stages.prepare import build_model
from gainrl.stages.prompts import choose_prompts
from gainrl.stages.score import score_shard
from gainrl.stages.train_local import LocalRun

pytestmark = pytest.mark.usefixtures("one_thread")
THINKS = PLAIN + "{% if enable_thinking is false %}<think></think>{% endif %}"
PARTS = (
    "{% for turn in messages %}<{{ turn.role }}>{% for part in turn.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}<assistant>"
)
"""Takes content as a list of parts; a text has none."""
FIRST_PART = PLAIN.replace("turn.content", "turn.content[0]['text']")
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('No system role here') }}{% endif %}"
) + PLAIN
SKIPS_SYSTEM = PLAIN.replace("in messages", "in messages if turn.role == 'user'")
LOST = "does not pass on the question"
REFUSED = [
    (PARTS, LOST),
    (FIRST_PART, LOST),
    (PLAIN.replace("in messages", "in messages[:1]"), LOST),
    (PLAIN.replace("in messages", "in messages if turn.role == 'human'"), LOST),
    (NO_SYSTEM, r"a system and a user message: No system role here \(.*'system: null'\)"),
    (SKIPS_SYSTEM, r"drops the system message \('system: null'"),
    ("{% if tools | length %}{% endif %}" + PLAIN, r"a user message: TypeError: .*'NoneType'"),
    (PLAIN + "{{ messages[5].content }}", "a user message: .*undefined|no element 5"),
    (PLAIN + "{{ 1 // (messages | length - messages | length) }}", "ZeroDivisionError"),
    (PLAIN + "{{ 'x' + 1 }}", "TypeError: .*str"),
    ("{% for turn in messages %}", "a user message: .*end of template"),
    (None, "no chat template"),
]


def placed(tmp_path, template, **keys):
    """A context whose model stage and data stage have been run, without their checks."""
    context = context_of(tmp_path, tmp_path / "given", **keys)
    folder = context.layout.model("mine")
    save(folder, bytes_tokenizer(template))
    write_json(folder / "gainrl.json", {"weights": "none"})
    prepare_data(context, "sums")
    table = read_table(context.layout.split("sums", "train"), PROMPTS)
    write_table(context.layout.prompts("mine", "sums"), table, PROMPTS)
    return context


@pytest.mark.parametrize(("template", "message"), REFUSED)
def test_what_a_template_does_wrong_is_said_in_one_line_with_its_own_error(template, message):
    with pytest.raises(ModelError, match=message) as caught:
        check_template(bytes_tokenizer(template), "Solve: {question}", "Be brief.", {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("template", [NO_SYSTEM, SKIPS_SYSTEM])
def test_without_a_system_prompt_such_a_template_will_do(template):
    check_template(bytes_tokenizer(template), "{question}", None, {})


@pytest.mark.parametrize(
    "template",
    [
        PLAIN,
        PLAIN.replace(" | trim", ""),
        PLAIN.replace("{{ turn.role }}", "{{ turn.role | upper }}"),
        "{% set system = 'Be brief.' %}<system>{{ system }}\n" + SKIPS_SYSTEM,  # its default
        "{% for turn in messages %}{% if turn.role == 'system' %}<<{{ turn.content | upper }}>>"
        "{% else %}{{ turn.content }}{% endif %}{% endfor %}",
    ],
)
def test_templates_that_pass_everything_on_are_taken(template):
    check_template(bytes_tokenizer(template), " Solve: {question}\n", "Be brief.", {})


def test_the_model_stage_refuses_before_anything_is_there(tmp_path):
    context = context_of(tmp_path, save(tmp_path / "given", bytes_tokenizer(NO_SYSTEM)))
    with pytest.raises(ModelError, match=r"model 'mine', data set 'sums': .*No system role here"):
        build_model(context, "mine")
    assert not context.layout.model("mine").exists()
    context = context_of(tmp_path, tmp_path / "given", system=None)
    build_model(context, "mine")
    assert (context.layout.model("mine") / "gainrl.json").exists()


def test_every_stage_in_which_a_model_meets_a_data_set_refuses_with_the_same_line(tmp_path):
    context, said = placed(tmp_path, PARTS), set()
    for stage in (
        lambda: choose_prompts(context, "mine", "sums"),
        lambda: score_shard(context, "mine", "sums", 0),
        lambda: evaluate_start(context, "mine", "sums"),
        lambda: benchmark.prepare(context, Test("mine", "sums", "paper", "transformers")),
        lambda: LocalRun(context, RunKey("mine", "sums", "grpo", 0))._build(),
    ):
        with pytest.raises(ModelError, match="model 'mine', data set 'sums'") as caught:
            stage()
        said.add(str(caught.value))
    assert len(said) == 1
    assert LOST in said.pop()


@pytest.mark.parametrize("segments", [True, False])
def test_a_single_question_that_is_lost_is_named(segments):
    template = PLAIN.replace("turn.content", "turn.content.split('</think>')[-1]")
    renderer = Renderer(bytes_tokenizer(template))
    with pytest.raises(DataError, match="prompt 'b': the rendered prompt does not contain"):
        renderer.tokens(["a", "b"], ["one", "What does </think> end?"], segments)


# --- arguments -----------------------------------------------------------------------------------

OFF = {"template_arguments": {"enable_thinking": False}}


def test_arguments_reach_every_prompt_and_what_is_stored_beside_it(tmp_path):
    plain, off = placed(tmp_path, THINKS), placed(tmp_path, THINKS, model=OFF)
    test = Test("mine", "sums", "paper", "transformers")
    with_it, without = benchmark.prepare(off, test), benchmark.prepare(plain, test)
    end = with_it.tokenizer.encode("<think></think>", add_special_tokens=False)
    assert [
        row[: -len(end)] for row in with_it.benchmark.prompts.tokens
    ] == without.benchmark.prompts.tokens
    assert all(row[-len(end) :] == end for row in with_it.benchmark.prompts.tokens)
    assert with_it.head["template"] != without.head["template"]
    assert with_it.head["template"] == template_hash(with_it.tokenizer, {"enable_thinking": False})
    runs = [LocalRun(context, RunKey("mine", "sums", "grpo", 0)) for context in (plain, off)]
    for run in runs:
        run._build()
    extra = runs[1].trainer.prompts.lengths - runs[0].trainer.prompts.lengths
    assert set(extra) == {len(end)}
    (row,) = {tuple(row[-len(end) :]) for row in runs[1].benchmarks[0].prompts.tokens}
    assert list(row) == end


def test_results_depend_on_arguments_that_are_set_and_only_on_those(tmp_path):
    test = Test("mine", "sums", "paper", "transformers")

    def slices(**keys):
        preset = context_of(tmp_path, tmp_path, model=keys).preset
        asked = (preset, "mine", "sums")
        return [
            plan.model_slice(preset, "mine"),
            *(make(*asked) for make in (plan.score_slice, plan.difficulty_slice)),
            *(make(*asked) for make in (plan.features_slice, plan.evaluation_slice)),
            plan.run_slice(*asked, "grpo"),
            test_slice(preset, test),
        ]

    plain, off = slices(), slices(**OFF)
    assert slices(template_arguments={}) == plain
    assert "template_arguments" not in str(plain)
    assert all(one != other for one, other in zip(plain, off, strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokenize": False}, "'tokenize' is no variable"),
        ({"enable thinking": False}, "'enable thinking' is no variable"),
        ({"until": object()}, "template_arguments"),
        ([1], "template_arguments"),
    ],
)
def test_arguments_that_no_template_can_have_are_refused(given, message):
    error = error_of(changed("models", "other", "template_arguments", to=given))
    assert "models.other" in error
    assert message in error


def test_an_argument_that_the_template_does_not_know_is_refused():
    with pytest.raises(ModelError, match="no variable 'enable_thinkng'"):
        check_template(bytes_tokenizer(THINKS), "{question}", None, {"enable_thinkng": False})


def test_verl_renders_with_the_same_arguments():
    assert dated(THINKS, {"enable_thinking": False}) == {"enable_thinking": False}
    assert dated("{{ date_string }}", {"level": 2}) == {"date_string": "26 Jul 2024", "level": 2}


@pytest.mark.parametrize(
    "date",
    [
        "{{ date_string }}",
        "{%- if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}"
        "{% endif %}{{ date_string }}",
        "{%- if date_string is defined %}{{ date_string }}{% endif %}",
    ],
)
def test_a_prompt_with_a_date_is_the_one_that_verl_makes(date):
    """A rehearsal found the first: scored without a date, and rendered with one by verl."""
    template = date + "{% for turn in messages %}{{ turn.content }}{% endfor %}"
    tokenizer = bytes_tokenizer(template)
    given = dated(template, {})
    messages = [{"role": "user", "content": "1+1?"}]
    verls = tokenizer.apply_chat_template(messages, tokenize=False, **given)
    assert render(tokenizer, "1+1?", "{question}", None) == verls == "26 Jul 20241+1?"
