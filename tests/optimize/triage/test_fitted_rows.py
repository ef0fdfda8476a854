"""Which rows a model was fitted on: found again by digests of their texts, as they are and as the model cleans them."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from inferstream.pipeline.optimize.triage.fitted_rows import files_with_fit, without_fitted
from inferstream.pipeline.optimize.triage.labeled import Labeled
from inferstream.pipeline.tasks.mail.cleaning import MAIL
from inferstream.pipeline.tasks.triage.fit_record import DIGEST_BYTES, digest_of, digests_of
from inferstream.pipeline.tasks.triage.head import Head, HeadAccuracy, HeadStore

HEAD = Head(
    "tiny-int8", b"digest", ("a", "b"), 2, bytes(16), bytes(8), 1.0, HeadAccuracy(2, 1, 1.0, 1.0, 0.0, 0.0)
)
MAILS = ["It is late.\n\n> When does it come?", "It is lost.\n\n> Where is it?", "Thanks"]


def labeled(texts: list[str]) -> Labeled:
    return Labeled(texts, ["a"] * len(texts), {}, {})


@given(st.lists(st.text()), st.text())
def test_a_text_is_found_if_and_only_if_it_was_there(texts: list[str], other: str) -> None:
    found = digests_of(texts)
    assert len(found) == DIGEST_BYTES * len(set(texts))
    digests = [found[i : i + DIGEST_BYTES] for i in range(0, len(found), DIGEST_BYTES)]
    assert digests == sorted(digests)
    assert (digest_of(other) in digests) == (other in texts)


def test_mails_are_found_as_the_model_cleans_them(tmp_path: Path) -> None:
    heads = HeadStore(tmp_path)
    known = labeled(MAILS[:2]).cleaned(MAIL)
    heads.save("shop", replace(HEAD, clean=MAIL), files_with_fit({}, known))
    for given_rows in (labeled(MAILS), labeled(MAILS).cleaned(MAIL)):
        rows, left_out = without_fitted(heads, ["shop", "tiny-int8", "shop"], given_rows)
        assert rows.texts == ["Thanks"]
        assert (left_out.given, left_out.fitted, left_out.unknown) == (3, {"shop": 2}, [])


def test_rows_of_several_models_are_left_out_and_those_of_older_ones_are_not_known(tmp_path: Path) -> None:
    heads = HeadStore(tmp_path)
    heads.save("first", HEAD, files_with_fit({}, labeled(["one", "two"])))
    heads.save("second", replace(HEAD, temperature=2.0), files_with_fit({}, labeled(["two", "three"])))
    heads.save("older", replace(HEAD, temperature=3.0))
    rows, left_out = without_fitted(
        heads, ["first", "second", "older"], labeled(["one", "two", "two", "three", "four"])
    )
    assert rows.texts == ["four"]
    assert left_out.fitted == {"first": 3, "second": 3}
    assert left_out.unknown == ["older"]
