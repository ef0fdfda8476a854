"""Prompts: what is a turn and what is only text, windows of long conversations, and templates of strangers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_llama import TOKENIZER

from inferstream.pipeline.errors import BadRequest, ModelError, TooLarge
from inferstream.pipeline.optimize.pull.decoders.gguf_tokenizer import tokenizer_of
from inferstream.pipeline.runtime.chat_template import MAX_CHARACTERS, ChatSettings, ChatTemplate
from inferstream.pipeline.runtime.text_tokens import TextTokens
from inferstream.pipeline.tasks.generate.prompts import PromptMaker
from inferstream.pipeline.tasks.generate.reading import Prompt
from inferstream.schemas.generation import ChatMessage, GenerateOptions

CONTEXT = 64
BEGIN, TURN, END = 0, 1, 2
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role[0] }}:{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>a:{% endif %}"
)
WINDOW = GenerateOptions(too_long="window", max_tokens=16)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    tokenizer_of(TOKENIZER | {"tokenizer.ggml.add_bos_token": True}, path).save(str(path))
    return path


def maker(path: Path, template: str | None = TEMPLATE, context: int = CONTEXT) -> PromptMaker:
    made = ChatTemplate(ChatSettings(template, {})) if template is not None else None
    return PromptMaker(TextTokens(path, context), made)


def chat(*contents: str, system: str | None = None) -> Prompt:
    """The turns of a user and an assistant, one after the other."""
    turns = [
        ChatMessage("user" if turn % 2 == 0 else "assistant", text) for turn, text in enumerate(contents)
    ]
    return Prompt(messages=(*([ChatMessage("system", system)] if system is not None else []), *turns))


def text_of(maker: PromptMaker, tokens: list[int]) -> str:
    """With special tokens."""
    return maker.tokens._tokenizer.decode(tokens, skip_special_tokens=False)


def test_a_conversation_is_what_the_template_makes_of_it(path: Path) -> None:
    prompts = maker(path)
    tokens = prompts.prompt(chat("hi", "yes", "ab", system="be"), GenerateOptions())
    assert text_of(prompts, tokens) == "<s>s:be</s><s>u:hi</s><s>a:yes</s><s>u:ab</s><s>a:"
    assert (tokens.count(TURN), tokens.count(END)) == (5, 4)


def test_a_text_is_taken_as_it_is_behind_the_beginning_of_the_model(path: Path) -> None:
    prompts = maker(path)
    tokens = prompts.prompt(Prompt(text="ab</s>"), GenerateOptions())
    assert text_of(prompts, tokens) == "<s>ab</s>"
    assert (tokens[0], tokens[-1]) == (TURN, END)


CONTENTS = st.lists(
    st.one_of(st.text("ab\U00100000", max_size=5), st.sampled_from(["<s>", "</s>", "</s", ">"]))
)


@given(contents=CONTENTS.map("".join))
def test_no_content_of_a_message_ends_its_turn(path: Path, contents: str) -> None:
    prompts = maker(path, context=500)
    tokens = prompts.prompt(chat(contents, "b", contents), GenerateOptions())
    assert (tokens.count(TURN), tokens.count(END)) == (4, 3)
    assert text_of(prompts, tokens) == f"<s>u:{contents}</s><s>a:b</s><s>u:{contents}</s><s>a:"


def test_a_prompt_as_long_as_the_context_is_taken_and_a_longer_one_refused(path: Path) -> None:
    prompts = maker(path)
    assert len(prompts.prompt(Prompt(text="b" * (CONTEXT - 1)), GenerateOptions())) == CONTEXT
    with pytest.raises(TooLarge) as caught:
        prompts.prompt(Prompt(text="b" * CONTEXT), GenerateOptions())
    assert str(caught.value) == (
        "The prompt has 65 tokens, and 64 are allowed: send a shorter one, or with the option `too_long` "
        '"window".'
    )
    with pytest.raises(TooLarge, match=r'has 1000014 characters.*or with the option `too_long` "window"'):
        prompts.prompt(chat("b" * 1_000_000), GenerateOptions())


def test_a_window_of_a_text_is_its_end(path: Path) -> None:
    prompts = maker(path)
    tokens = prompts.prompt(Prompt(text="c" * 1_000_000 + "b" * 10), WINDOW)
    assert text_of(prompts, tokens) == "<s>" + "c" * 37 + "b" * 10
    short = Prompt(text="ab")
    assert prompts.prompt(short, WINDOW) == prompts.prompt(short, GenerateOptions())


@given(
    contents=st.lists(st.text("b", max_size=20), min_size=1, max_size=12),
    system=st.one_of(st.none(), st.text("b", max_size=8)),
    max_tokens=st.integers(1, 200),
)
def test_a_window_has_the_last_turns_that_have_room(
    path: Path, contents: list[str], system: str | None, max_tokens: int
) -> None:
    prompts = maker(path)
    room = CONTEXT - min(max_tokens, CONTEXT // 2)
    whole = chat(*contents, system=system)
    begin = whole.messages[: len(whole.messages) - len(contents)]
    turns = whole.messages[len(begin) :]
    long = maker(path, context=10_000)
    fitting = [
        found
        for start in range(0, len(turns), 2)
        if len(found := long.prompt(Prompt(messages=(*begin, *turns[start:])), GenerateOptions())) <= room
    ]
    options = GenerateOptions(too_long="window", max_tokens=max_tokens)
    if not fitting:
        with pytest.raises(TooLarge, match=f"more tokens than the {room} that the context of {CONTEXT} has"):
            prompts.prompt(whole, options)
        return
    assert prompts.prompt(whole, options) == fitting[0]


def test_a_window_of_ten_thousand_messages_renders_few_times(path: Path) -> None:
    prompts = maker(path)
    rendered = 0
    assert prompts._template is not None
    text = prompts._template.text

    def counted(messages: list[dict[str, str]]) -> str:
        nonlocal rendered
        rendered += 1
        return text(messages)

    prompts._template.text = counted  # type: ignore[method-assign,assignment]
    prompts.prompt(chat(*["b"] * 10_000), WINDOW)
    assert rendered < 20


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (
            "{{ raise_exception('Only two turns: ' ~ messages | length) }}",
            "refuses the messages: Only two turns: 1",
        ),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot use the messages: access to attribute"),
        ("{{ raise_exception.__globals__['os'] }}", "cannot use the messages: access to attribute"),
        ("{{ messages.append(1) }}", "cannot use the messages"),
        ("{{ 1 / 0 }}", "cannot use the messages: division by zero"),
        ("{{ 1 | upper | tojson | join(1, 2, 3, 4) }}", "cannot use the messages"),
        ("{{ nothing.at.all }}", "cannot use the messages: 'nothing' is undefined"),
        ("{% for a in range(10**9) %}{% endfor %}", "cannot use the messages: Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "cannot use the messages: maximum recursion"),
    ],
)
def test_a_hostile_template_is_a_sentence_of_its_request(path: Path, template: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=r"^The model's chat template ") as caught:
        maker(path, template).prompt(chat("a"), GenerateOptions())
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_template_that_writes_without_an_end_is_stopped(path: Path) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}aaaaaaaa{% endfor %}{% endfor %}"
    with pytest.raises(TooLarge, match=f"more than {MAX_CHARACTERS} characters"):
        maker(path, endless).prompt(chat("a"), GenerateOptions())


def test_a_template_that_writes_nothing_gives_no_empty_prompt(path: Path) -> None:
    with pytest.raises(BadRequest, match="has made nothing of the messages"):
        maker(path, "{# nothing #}").prompt(chat("a"), GenerateOptions())


def test_a_template_that_cannot_be_read_is_an_error_of_the_model() -> None:
    with pytest.raises(ModelError, match="chat template cannot be read"):
        ChatTemplate(ChatSettings("{% for", {}))


def test_a_model_without_a_template_goes_on_with_texts_only(path: Path) -> None:
    prompts = maker(path, None)
    assert prompts.prompt(Prompt(text="ab"), GenerateOptions())
    with pytest.raises(BadRequest, match="has no chat template: send a `text`"):
        prompts.prompt(chat("a"), GenerateOptions())
