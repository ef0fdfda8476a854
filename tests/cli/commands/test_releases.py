"""`inferstream models promote`, `rollback`, `diff`, `gc`, and what `list` and `show` say of releases."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.released_models import ReleasedModels
from support.static_tiers import save_static_head

from inferstream import Config, Edge
from inferstream.pipeline.cli.main import run
from inferstream.pipeline.config import CacheConfig
from inferstream.pipeline.models.judgements import write_judgement
from inferstream.pipeline.models.manifest import Lineage, write_manifest
from inferstream.pipeline.models.metrics import FITTED, Evaluation, Gate, Judgement, ServedBy
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.store import ReleaseStore

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("INFERSTREAM_HOME", str(home))
    save_static_head(home, "shop", ("refund", "login"))
    return home


@pytest.fixture
def store(home: Path) -> ReleaseStore:
    return open_registry(home=home)


@pytest.fixture
def models(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_one(*words: str, status: int = 0) -> str:
        """What it prints; the sentence of a failure."""
        assert run(["models", *words]) == status
        printed = capsys.readouterr()
        if status == 0:
            return printed.out
        assert printed.err.splitlines()[-1].startswith("Error: ")
        assert "Traceback" not in printed.err
        return printed.err.splitlines()[-1].removeprefix("Error: ")

    return run_one


def test_what_was_not_measured_is_refused_unless_it_is_forced(models: Run, store: ReleaseStore) -> None:
    sentence = models("promote", "shop", "triage@prod", status=1)
    assert sentence.startswith(
        "shop is not published: It was not measured beside its original. Measure it with `inferstream models "
        "evaluate shop DATA`, or give --force"
    )
    assert store.tasks() == []
    forced = models("promote", "shop", "prod", "--force", "--reason", "the demo")
    assert "It was forced, which its history says for ever." in forced
    state = store.alias("triage", "prod")
    assert (state.forced, state.reason) == (True, "the demo")
    gate = store.release("triage", state.stable).gate
    assert gate is not None
    assert (gate.passed, gate.forced) == (False, True)
    assert models("promote", f"triage@{state.stable}", "triage@other"), "what was forced once is served"
    assert store.alias("triage", "other").forced


def promoted_twice(models: Run, home: Path) -> tuple[str, str]:
    """Two versions, the second one a candidate."""
    first = json.loads(models("promote", "shop", "triage@prod", "--force", "--json"))["stable"]
    save_static_head(home, "shop", ("refund", "login", "parcel"))
    words = ("promote", "shop", "triage@prod", "--force", "--canary", "0.2", "--limit", "latency=2", "--json")
    state = json.loads(models(*words))
    assert state["rollout"] == {"mode": "canary", "share": 0.2, "limits": {"latency": 2.0}}
    return first, state["candidate"]


def test_a_rollout_and_its_end(models: Run, home: Path, store: ReleaseStore) -> None:
    first, second = promoted_twice(models, home)
    assert f"triage@prod tries release {second} beside {first} (canary 20% of the keys)" in models(
        "show", "triage@prod"
    )
    assert models("promote", "triage@prod", "--finish").startswith(
        f"triage@prod is release {second}; before it was {first}."
    )
    back = models("rollback", "triage@prod", "--reason", "worse")
    assert back.startswith(f"triage@prod is release {first}; {second} was rolled back.")
    assert models("rollback", "triage@prod", "--to", f"triage@{second}").startswith(
        f"triage@prod is release {second}"
    )
    models("promote", "shop", "prod", "--guarded", status=1)
    models("rollback", "triage@prod", "--to", first)
    assert "guarded 10%" in models("promote", "shop", "prod", "--guarded", "--force")
    assert f"{second} was rolled back" in models("rollback", "triage@prod")
    assert [state.number for state in store.history("triage", "prod")] == list(range(1, 9))


def test_list_show_and_diff(models: Run, home: Path) -> None:
    first, second = promoted_twice(models, home)
    listed = models("list")
    assert "There are no models yet" not in listed
    assert f"triage@prod  {first}  {second}" in listed
    rows = json.loads(models("list", "triage@", "--json"))
    assert {row["release"]: row["aliases"] for row in rows} == {
        f"triage@{first}": ["triage@prod (stable)"],
        f"triage@{second}": ["triage@prod (candidate)"],
    }
    assert "forced although it did not pass" in models("list", "@")
    shown = models("show", "triage@prod")
    for words in (
        "a static tier of",
        "labels",
        "refund, login",
        "static.safetensors",
        "History, the newest first:",
    ):
        assert words in shown
    assert "parcel" in models("show", f"triage@{second}")
    assert json.loads(models("show", "triage@prod", "--json"))["history"][1]["candidate"] == second
    rows = json.loads(models("diff", "triage@prod", f"triage@{second}", "--json"))
    found = {row["what"]: (row["first"], row["second"]) for row in rows}
    assert found["labels"] == (None, "parcel")
    assert found["version"] == (first, second)
    assert any(what.endswith("static.safetensors") for what in found)
    assert "There is no difference" in models("diff", f"triage@{second}", f"triage@{second}")


def test_list_and_show_tell_fitted_models(models: Run, home: Path) -> None:
    listed = models("list")
    assert "Fitted models:" in listed
    version = (home / "heads/shop/current").read_text()
    line = next(one for one in listed.splitlines() if one.startswith("shop "))
    assert line.split("  ")[0] == "shop"
    for words in ("static", "90.0% of 2 held-out rows", "tiny-int8", version):
        assert words in line
    (row,) = json.loads(models("list", "--json"))
    assert (row["name"], row["kind"], row["served"]) == ("shop", "fitted model", "static")
    assert json.loads(models("show", "shop", "--json")) == row
    shown = models("show", "shop")
    assert "not measured beside its original" in shown
    assert version in shown
    assert "Fitted models: shop." in models("show", "nonesuch", status=2)
    (home / "heads/shop" / version / "head.msgpack").write_bytes(b"damaged")
    assert "There are no models yet" in models("list"), "a damaged one is left out"
    assert "is damaged" in models("show", "shop", status=1)


CLOSED = Gate({"min_share": 0.97}, passed=False, failures=("It kept 90 %.",))


def judged(folder: Path, gate: Gate) -> None:
    """A judgement on the fitted model in this folder."""
    device = ServedBy("cpu", "a CPU", 1, "1")
    evaluation = Evaluation(FITTED, folder.name, "tiny-fp32", "0" * 12, device, 100, "0" * 64)
    write_judgement(folder, Judgement(evaluation, gate))


def head_folder(home: Path) -> Path:
    return home / "heads/shop" / (home / "heads/shop/current").read_text()


async def answer_of(alias: str) -> str:
    """What a worker answers that starts on the alias."""
    async with Edge(Config(cache=CacheConfig(disk_bytes=0)), task="triage", models=[alias]) as client:
        answer = await client.request("triage", "my card is broken")
    return str(answer.reply.release)


def test_force_opens_a_closed_gate_and_is_recorded(models: Run, home: Path, store: ReleaseStore) -> None:
    first = json.loads(models("promote", "shop", "triage@prod", "--force", "--json"))["stable"]
    judged(head_folder(home), CLOSED)
    rows = json.loads(models("diff", "triage@prod", "shop", "--json"))
    gates = next(row for row in rows if row["what"] == "gate")
    assert gates["second"] == "closed: It kept 90 %.", "it may be looked at"
    refusal = models("promote", "shop", "triage@prod", status=1)
    assert refusal.startswith("shop is not published: It kept 90 %. Measure it with")
    assert "--force" in refusal
    assert store.versions("triage") == [first]
    second = json.loads(models("promote", "shop", "prod", "--force", "--json"))["stable"]
    release = store.release("triage", second)
    assert release.gate == replace(CLOSED, forced=True)
    assert release.metrics is not None
    assert store.alias("triage", "prod").forced
    assert "forced although it did not pass: It kept 90 %." in models("show", "triage@prod")
    assert asyncio.run(answer_of("triage@prod")) == second, "a worker serves it"


def test_the_closed_gate_of_an_encoder_is_one_of_what_is_fitted_on_it(
    models: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = ReleasedModels(tmp_path)
    monkeypatch.setenv("INFERSTREAM_HOME", str(publisher.home))
    store = open_registry(home=publisher.home)
    manifest = publisher.encoder()
    publisher.head(1)
    write_manifest(replace(manifest, gate=CLOSED), publisher.home / "models/tiny/fp32.json")
    judged(head_folder(publisher.home), Gate({"min_share": 0.97}, passed=True))
    assert "It kept 90 %." in models("promote", "shop", "triage@prod", status=1)
    assert store.versions("triage") == []
    version = json.loads(models("promote", "shop", "triage@prod", "--force", "--json"))["stable"]
    assert store.release("triage", version).gate == replace(CLOSED, forced=True)
    assert asyncio.run(answer_of("triage@prod")) == version


def test_a_head_that_was_not_measured_is_refused_however_good_its_encoder_is(
    models: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = ReleasedModels(tmp_path)
    monkeypatch.setenv("INFERSTREAM_HOME", str(publisher.home))
    manifest = publisher.encoder()
    publisher.head(1)
    passed = Gate({"min_share": 0.97}, passed=True)
    device = ServedBy("cpu", "a CPU", 1, "1")
    evaluation = Evaluation(FITTED, manifest.version, "tiny-fp32", "0" * 12, device, 100, "0" * 64)
    of_encoder = replace(manifest, gate=passed, judgements={FITTED: Judgement(evaluation, passed)})
    write_manifest(of_encoder, publisher.home / "models/tiny/fp32.json")
    sentence = models("promote", "shop", "triage@prod", status=1)
    assert "It was not measured" in sentence
    assert "`inferstream models evaluate shop DATA`" in sentence
    lineage = Lineage("tiny-fp32", manifest.version, "prune", 0.6, 100, "f" * 64)
    write_manifest(replace(of_encoder, lineage=lineage), publisher.home / "models/tiny/fp32.json")
    sentence = models("promote", "tiny-fp32", "triage@prod", status=1)
    assert "with heads that are fitted on its vectors, and here it answers without one" in sentence
    assert "`inferstream models evaluate tiny-fp32 DATA --zero-shot`" in sentence


def test_gc_removes_what_nothing_names(models: Run, home: Path, store: ReleaseStore) -> None:
    first, second = promoted_twice(models, home)
    models("rollback", "triage@prod")
    for path in (home / "registry").rglob("*"):
        os.utime(path, (0, 0))
    assert "Would remove 1 releases" in models("gc", "--keep", "1", "--dry-run")
    removed = json.loads(models("gc", "--keep", "1", "--json"))
    assert removed["registry"]["releases"] == [f"triage@{second}"]
    assert store.versions("triage") == [first]
    assert "Removed 0 releases" in models("gc", "--keep", "1")


def test_the_registry_is_that_of_the_settings(
    models: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[registry]\nurl = "{tmp_path}/one"\n')
    models("promote", "shop", "triage@prod", "--force", "--config", str(settings))
    monkeypatch.setenv("INFERSTREAM_REGISTRY_URL", f"file://{tmp_path}/two")
    models("promote", "shop", "triage@prod", "--force")
    models("promote", "shop", "triage@prod", "--force", "--registry", f"{tmp_path}/three")
    for name in ("one", "two", "three"):
        assert open_registry(f"{tmp_path}/{name}").aliases("triage") == ["prod"]
    assert "has no releases yet" in models("list", "@", "--registry", f"{tmp_path}/four")


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ("promote shop", 2, "Say what to promote and where to: inferstream models promote NAME TASK@ALIAS."),
        ("promote shp triage@prod --force", 2, "There is no model 'shp'"),
        ("promote shop Triage@Prod", 2, "did you mean 'triage@prod', in small letters?"),
        ("promote shop PROD", 2, "'PROD' cannot be an alias: use small letters"),
        ("promote shop triage@0123456789ab", 2, "triage@0123456789ab is a version, which never changes"),
        ("promote shop embed@prod", 2, "There is no model 'shop'"),
        ("promote shop triag@prod", 2, "There is no task 'triag'; did you mean 'triage'?"),
        ("promote triage@prod triage@live", 2, "has no alias triage@prod; there are none yet."),
        ("promote triage@prod --finish", 2, "has no alias triage@prod; there are none yet."),
        ("promote shop triage@prod --finish", 2, "--finish takes the alias alone"),
        ("promote shop triage@prod --force --canary 0.1", 2, "An alias that is new has no stable version"),
        ("promote shop triage@prod --canary 0.1 --shadow 0.1", 2, "A candidate is tried in one way"),
        ("promote shop triage@prod --limit latency=2", 2, "--limit is for a rollout"),
        (
            "promote shop triage@prod --canary 0.1 --limit speed=2",
            2,
            "There is no limit 'speed'; there is: error_rate",
        ),
        ("promote shop triage@prod --canary 0.1 --limit latency", 2, "'' is no number"),
        ("promote shop triage@prod --registry s3://bucket", 2, "needs the package s3fs: pip install s3fs."),
        (
            "promote shop triage@prod --registry ftp://host/x",
            2,
            "A registry cannot be at ftp://host/x: use a folder",
        ),
        ("promote triage@0123456789ab prod", 2, "has no release triage@0123456789ab"),
        ("rollback shop", 2, "'shop' is no alias of a task: write TASK@ALIAS"),
        ("rollback triage@prod", 2, "has no alias triage@prod; there are none yet."),
        ("show triage@prod", 2, "has no alias triage@prod; there are none yet."),
        ("show triage@", 2, "write TASK@ALIAS as triage@prod"),
        ("list triage@prod", 2, "is not a task with its sign"),
        ("list triage", 2, "is not a task with its sign"),
        ("diff shop nothing", 2, "There is no model 'nothing'"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(models: Run, words: str, status: int, sentence: str) -> None:
    assert sentence in models(*words.split(), status=status)


def test_a_registry_that_cannot_be_written_is_told(models: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence = models("promote", "shop", "prod", "--force", "--registry", f"{tmp_path}/file", status=1)
    assert sentence.startswith(
        f"The registry {tmp_path}/file cannot be used: Not a directory ({tmp_path}/file/"
    )


def test_a_damaged_release_is_named_in_a_list(models: Run, home: Path) -> None:
    first, _ = promoted_twice(models, home)
    (home / f"registry/releases/triage/{first}.json").write_text("{")
    (home / "registry/aliases/triage/prod/00000002.json").write_text("{}")
    rows = json.loads(models("list", "triage@", "--json"))
    gate = next(row["gate"] for row in rows if first in row["release"])
    assert f"The manifest of the release triage@{first} is damaged" in gate
    assert "State 2 of triage@prod is damaged" in models("list")
    assert "State 2 of triage@prod is damaged" in models("show", "triage@prod", status=1)
    assert "State 2 of triage@prod is damaged" in models("gc", status=1)
