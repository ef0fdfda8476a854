"""Chat templates: what they make, what they refuse, and that they reach nothing."""

from pathlib import Path
from typing import Any

import pytest

from inferstream.pipeline.errors import BadRequest, ModelError, TooLarge
from inferstream.pipeline.runtime import chat_template
from inferstream.pipeline.runtime.chat_template import ChatSettings, ChatTemplate, read_chat

TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CAREFUL = """
{%- if messages[0]['role'] not in ['user', 'system'] -%}
    {{- raise_exception('Only user and system may begin') -}}
{%- endif -%}
{{- bos_token -}}
{%- for message in messages -%}
    {%- if loop.index0 == 5 -%}{% break %}{%- endif -%}
    {%- if message.role == 'assistant' -%}
        {%- generation -%}{{ message.content | trim }}{%- endgeneration -%}
    {%- else -%}
        {{- message | tojson -}}
    {%- endif -%}
{%- endfor -%}
"""


def text(template: str, messages: Any = TALK, **names: Any) -> str:
    settings = ChatSettings(template, {"bos_token": "<s>", "eos_token": "</s>"})
    return ChatTemplate(settings).text(messages, **names)


def test_messages_become_text() -> None:
    turns = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>\n"
    assert text(CHATML) == turns + "<|im_start|>assistant\n"
    assert text(CHATML, answering=False) == turns


def test_what_templates_of_transformers_use() -> None:
    assert text(CAREFUL) == '<s>{"role": "user", "content": "hi"}hello'
    assert text("{{ {'a': 'é'} | tojson }}") == '{"a": "é"}'
    assert text("{{ strftime_now('%Y') }}").isdigit()
    assert text("{{ enable_thinking }}", enable_thinking=False) == "False"
    assert text("  {% if true %}\n  x\n  {% endif %}\n") == "  x\n", "blocks leave no lines"


@pytest.mark.parametrize(
    ("template", "messages", "sentence"),
    [
        (CAREFUL, [{"role": "robot", "content": ""}], "refuses the messages: Only user and system may begin"),
        (CHATML, [{"role": "user"}], "cannot use the messages: .* no attribute 'content'"),
        (CHATML, [{"role": "user", "content": 5}], "cannot use the messages"),
        (CHATML, [["user"]], "cannot use the messages"),
        ("{{ messages[5].content }}", TALK, "cannot use the messages"),
        ("{{ 1 // 0 }}", TALK, "cannot use the messages"),
        ("{{ messages.append(1) }}", TALK, "cannot use the messages"),
        ("{% for i in range(1000000000) %}{% endfor %}", TALK, "Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", TALK, "cannot use the messages"),
    ],
)
def test_messages_that_a_template_cannot_use_are_the_callers_mistake(
    template: str, messages: Any, sentence: str
) -> None:
    with pytest.raises(BadRequest, match=sentence) as raised:
        text(template, messages)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ ('%s' | format).__self__.x }}",
        "{{ lipsum.__globals__['os'].getcwd() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
    ],
)
def test_a_template_reaches_nothing(template: str) -> None:
    with pytest.raises(BadRequest):
        text(template)


@pytest.mark.parametrize("template", ["", "{% for %}", "{{ unclosed", "{% endfor %}", "{{ a | nonesuch }}"])
def test_a_template_that_cannot_be_read_is_the_models_fault(template: str) -> None:
    with pytest.raises(ModelError, match="chat template"):
        text(template)


def test_a_text_without_an_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "MAX_CHARACTERS", 1000)
    with pytest.raises(TooLarge, match="more than 1000 characters"):
        text("{% for i in range(90000) %}{{ i }}{% endfor %}")


def test_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Cannot read"):
        read_chat(tmp_path / "chat.json")
    (tmp_path / "chat.json").write_text('{"template": 5}')
    with pytest.raises(ModelError, match="damaged"):
        read_chat(tmp_path / "chat.json")
