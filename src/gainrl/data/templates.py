"""Chat templates: messages to text, and a check of one before anything is computed with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError

from gainrl.errors import ModelError

PROBE = "gainrl-probe"
TODAY = datetime(2024, 7, 26)
"""The date in every prompt of a template that prints one: Llama 3's own where there is no clock.

With the real date, the scores and the runs of two days would be of different prompts.
"""
FAULTS = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)
"""What a template raises: Jinja's errors, and Python's own from the expressions in it."""
NO_TEMPLATE = "the tokenizer has no chat template"


def conversation(question: str, template: str, system: str | None) -> list[dict[str, str]]:
    """The chat messages of one question."""
    messages = [{"role": "system", "content": system}] if system else []
    return [*messages, {"role": "user", "content": template.replace("{question}", question)}]


def render(
    tokenizer: Any,
    question: str,
    template: str,
    system: str | None,
    arguments: Mapping[str, Any] | None = None,
    now: datetime = TODAY,
) -> str:
    """The text that the model continues.

    Args:
        arguments: further variables of the chat template (`models.*.template_arguments`).
        now: the date that a template may print.

    Raises:
        ModelError: the tokenizer has no chat template, or its template refuses the messages.
    """
    return render_messages(tokenizer, conversation(question, template, system), arguments, now)


def render_messages(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    arguments: Mapping[str, Any] | None = None,
    now: datetime = TODAY,
) -> str:
    """As `render`, of any conversation that ends before the model's turn."""
    if not tokenizer.chat_template:
        raise ModelError(f"{tokenizer.name_or_path}: {NO_TEMPLATE}")
    try:
        return _applied(tokenizer, messages, arguments, now)
    except FAULTS as error:
        raise ModelError(f"{tokenizer.name_or_path}: {_refusal(messages, error)}") from error


def check_template(
    tokenizer: Any, template: str, system: str | None, arguments: Mapping[str, Any]
) -> str:
    """Refuse a chat template by which a model would not see the question or the system prompt.

    Returns:
        A prompt whose question is PROBE.

    Raises:
        ModelError: saying what is wrong, with the template's own error, but not with which model.
    """
    source = str(tokenizer.chat_template or "")
    if not source:
        raise ModelError(NO_TEMPLATE)
    for name in arguments:
        if name not in source:
            raise ModelError(f"template_arguments: the chat template has no variable '{name}'")
    text = _rendered_probe(tokenizer, template, system, arguments)
    if template.replace("{question}", PROBE).strip() not in text:
        raise ModelError(
            f"the chat template does not pass on the question: a user message that is a text "
            f"becomes {text[-80:]!r} (templates that only take content in parts are not for text)"
        )
    if system and system.strip() not in text:
        without = _rendered_probe(tokenizer, template, None, arguments)
        if text == without:
            raise ModelError("the chat template drops the system message ('system: null' has none)")
    return text


def _rendered_probe(
    tokenizer: Any, template: str, system: str | None, arguments: Mapping[str, Any]
) -> str:
    messages = conversation(PROBE, template, system)
    try:
        return _applied(tokenizer, messages, arguments, TODAY)
    except FAULTS as error:
        refusal = _refusal(messages, error)
        if not system:
            raise ModelError(refusal) from error
    messages = messages[1:]
    try:
        _applied(tokenizer, messages, arguments, TODAY)
    except FAULTS as error:  # the system message was not what it refused
        raise ModelError(_refusal(messages, error)) from error
    raise ModelError(f"{refusal} (set the data set's 'system: null')")


def _applied(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    arguments: Mapping[str, Any] | None,
    now: datetime,
) -> str:
    given = dated(tokenizer.chat_template, arguments or {}) if now == TODAY else arguments or {}
    return tokenizer.apply_chat_template(
        list(messages),
        tokenize=False,
        add_generation_prompt=True,
        strftime_now=now.strftime,
        **given,
    )


def dated(template: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A model's arguments, and the fixed date where its template has a variable for one.

    Trainers that render by themselves, as verl, can be given no clock: so nobody relies on one.

    Args:
        template: the tokenizer's chat template.
        arguments: the model's own.
    """
    date = {"date_string": TODAY.strftime("%d %b %Y")} if "date_string" in str(template) else {}
    return {**date, **arguments}


def _refusal(messages: Sequence[Mapping[str, Any]], error: Exception) -> str:
    roles = [str(message.get("role")) for message in messages]
    given = f"a {', a '.join(roles[:-1])} and a {roles[-1]} message"
    if len(roles) == 1:
        given = f"a {roles[0]} message"
    said = " ".join(str(error).split()) or "no reason given"
    kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
    return f"the chat template refuses {given}: {kind}{said}"


def template_hash(tokenizer: Any, arguments: Mapping[str, Any] | None = None) -> str:
    """Short hash of the chat template and its arguments, stored beside scores and accuracies."""
    text = str(tokenizer.chat_template or "")
    if arguments:
        text += json.dumps(dict(arguments), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
