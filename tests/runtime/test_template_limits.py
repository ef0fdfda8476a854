"""A chat template is a program of a stranger: what it may cost is bounded, and what templates do is not hindered."""

import time
from typing import Any

import pytest

from inferstream.pipeline.errors import BadRequest
from inferstream.pipeline.runtime import template_limits
from inferstream.pipeline.runtime.chat_template import ChatSettings, ChatTemplate
from inferstream.pipeline.runtime.template_limits import MAX_CPU_S

ONE = [{"role": "user", "content": "Hello"}]
LARGE = [{"role": "user", "content": "a\t\n" * 333_000}]
AT_ONCE_S = 1.0

NESTED = "{% for a in range(99999) %}" * 9 + "{% endfor %}" * 9
COSTLY = {
    "nested loops": NESTED,
    "loops whose condition is false": (
        "{% for a in range(99999) %}{% for b in range(99999) if b < 0 %}{% endfor %}{% endfor %}"
    ),
    "recursion of loops": "{% for a in [[1]] recursive %}{{ loop([[1], [1], [1]]) }}{% endfor %}",
    "macros": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(99) }}",
    "doubled texts": "{% set x = namespace(t='ab') %}{% for a in range(99) %}{% set x.t = x.t ~ x.t %}{% endfor %}",
    "added texts": "{% set x = namespace(t='ab') %}{% for a in range(99) %}{% set x.t = x.t + x.t %}{% endfor %}",
    "added lists": "{% set x = namespace(t=[1]) %}{% for a in range(99) %}{% set x.t = x.t + x.t %}{% endfor %}",
    "a text many times": "{{ 'a' * 9999999999 }}",
    "a list many times": "{{ ([1] * 9999999999)|length }}",
    "powers": "{{ 9 ** 999999999 }}",
    "powers of powers": "{{ ((9 ** 60) ** 60) ** 60 }}",
    "products": "{% set x = namespace(t=9) %}{% for a in range(99) %}{% set x.t = x.t * x.t %}{% endfor %}",
    "a wide format": "{{ '%999999999d' % 1 }}",
    "a given width": "{{ '%*d' % (999999999, 1) }}",
    "a wide format by a method": "{{ '{:999999999}'.format(1) }}",
    "a wide format by a filter": "{{ '%999999999d'|format(1) }}",
    "center": "{{ 'a'|center(999999999) }}",
    "ljust": "{{ 'a'.ljust(999999999) }}",
    "zfill": "{{ 'a'.zfill(width=999999999) if false else 'a'.zfill(999999999) }}",
    "indent": "{{ messages|tojson(indent=999999999) }}",
    "replace": "{{ messages[0].content|replace('a', messages[0].content) }}",
    "replace by a method": "{{ messages[0].content.replace('a', messages[0].content) }}",
    "join": "{{ range(99999)|join(messages[0].content) }}",
    "join by a method": "{{ messages[0].content.join(messages[0].content) }}",
    "expandtabs": "{{ messages[0].content.expandtabs(9999) }}",
    "indented lines": "{{ messages[0].content|indent(9999) }}",
    "long work in few steps": (
        "{% for a in range(99999) %}{% set x = messages[0].content|upper|lower|trim|upper|lower %}{% endfor %}"
    ),
}


def rendered(template: str, messages: Any = ONE) -> str:
    return ChatTemplate(ChatSettings(template, {})).text(messages)


@pytest.mark.parametrize("messages", [ONE, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", COSTLY)
def test_what_a_template_costs_is_bounded(name: str, messages: Any) -> None:
    began = time.thread_time()
    error = error_of(COSTLY[name], messages)
    assert time.thread_time() - began < MAX_CPU_S + AT_ONCE_S, "CPU time of this thread alone"
    assert (
        "does too much with these messages" in error
        or "recursion" in error
        or (not error and messages is ONE)
    )


def error_of(template: str, messages: Any) -> str:
    try:
        assert len(rendered(template, messages)) < 1_000_000
    except BadRequest as error:
        return str(error)
    return ""


USUAL = {
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% endfor %}": "1/1True",
    "{% for m in messages if m.role == 'x' %}no{% else %}none{% endfor %}": "none",
    "{% for a in range(3) %}{% if a == 1 %}{% continue %}{% endif %}{{ a ~ '-' ~ a }} {% endfor %}": "0-0 2-2 ",
    "{% for k, v in {'a': 1}.items() %}{{ k + '=' + v|string }}{% endfor %}": "a=1",
    "{% macro m(x) %}<{{ x }}{{ caller() if caller }}>{% endmacro %}{{ m(1) }}{% call m(2) %}!{% endcall %}": "<1><2!>",
    "{{ '%s and %05.1f' % ('a', 2) }}|{{ '{:>4}'.format('a') }}|{{ 'a'|center(3) }}": "a and 002.0|   a| a ",
    "{{ ['a', 'b']|join(', ') }}|{{ '-'.join(['a', 'b']) }}|{{ 'aXb'|replace('X', '--') }}": "a, b|a-b|a--b",
    "{{ messages|map(attribute='content')|join }}|{{ 'a\\nb'|indent(2) }}|{{ 2 ** 10 * 3 % 1000 }}": "Hello|a\n  b|72",
    "{{ ([1, 2] + [3])|length }}{{ 'ab' * 3 }}{{ [0] * 2 }}": "3ababab[0, 0]",
    "{% set x = namespace(n=0) %}{% for a in range(5) recursive %}{% set x.n = x.n + a %}{% endfor %}{{ x.n }}": "10",
}


@pytest.mark.parametrize("template", USUAL)
def test_what_templates_do_is_not_hindered(template: str) -> None:
    assert rendered(template) == USUAL[template]


def test_a_message_of_a_megabyte_is_rendered_whole() -> None:
    template = "{% for m in messages %}{{ '<|' + m.role + '|>' ~ m.content|trim }}{% endfor %}"
    assert rendered(template, LARGE) == "<|user|>" + LARGE[0]["content"].strip()


def test_the_steps_of_a_rendering_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limits, "MAX_STEPS", 25)
    template = ChatTemplate(ChatSettings("{% for m in messages %}{{ m.content }}{% endfor %}", {}))
    for _ in range(20):
        assert template.text(ONE * 20) == "Hello" * 20
    with pytest.raises(BadRequest, match=r"these messages: it takes more than 25 steps\. Send fewer"):
        template.text(ONE * 30)
