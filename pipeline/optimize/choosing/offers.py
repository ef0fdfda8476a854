"""What the models on this machine offer: the figures of each on each device here, measured anew where they are of
another machine."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ...errors import ProviderUnavailable, UnknownModel, UsageError
from ...graphs.devices import CPU
from ...graphs.marian.translator import KIND as TRANSLATOR
from ...models.judgements import read_judgement
from ...models.manifest import CLASSIFIER, ENCODER, Manifest
from ...models.metrics import CLASSIFY, TRANSLATE, ZERO_SHOT, Gate, MachineSpeed
from ...models.registry import ModelRegistry, split_name
from ...runtime.tokenizer import Tokenizer
from ...tasks.triage.head import HeadStore
from ..evaluation.figures.speed import measured_speeds
from ..evaluation.keeping import keep_speed, original_name
from ..evaluation.served_model import ServedModel
from ..evaluation.served_models import BY_NAME, files_of, opened, zero_shot_encoder
from ..machine.devices import served_by, usable
from ..sample import load_sample
from ..triage.report import Progress

DEVICES: Final = (CPU, "cuda", "tensorrt")
USES: Final = {TRANSLATOR: TRANSLATE, CLASSIFIER: CLASSIFY}
"""Of the kinds of models that have only one."""


class Offer(Struct, frozen=True):
    """A model on a device. None: is not known, see ``note``."""

    name: str
    provider: str
    device: str
    original: str  # what its agreement is with
    agreement: float | None
    p50_ms: float | None
    p99_ms: float | None
    rows_per_s: float | None
    size_mb: float
    gate: Gate | None
    note: str = ""


class Offers(NamedTuple):
    """All of them, and why a device has none."""

    found: list[Offer]
    not_measured: dict[str, str]


def offers(registry: ModelRegistry, name: str | None, use: str, progress: Progress) -> Offers:
    """Of the model ``name``, what was made of it and what was fitted on those; without a name of all encoders.

    ``registry`` must not refuse closed gates. Raises UnknownModel, UsageError for language models, whose speed depends
    on what they are asked.
    """
    manifests, heads = _chosen(registry, name)
    if use == ZERO_SHOT:
        heads = []
    if manifests:
        use = USES.get(manifests[0].kind, use)
    found: list[Offer] = []
    not_measured: dict[str, str] = {}
    for provider in DEVICES:
        if not usable(provider):
            not_measured[provider] = "not usable on this machine, so nothing was measured"
            continue
        running = [one for one in manifests if _runs(one, provider)]
        speeds = _speeds(registry, running, provider, use, progress)
        found += [_of_variant(one, provider, use, speeds[one.name]) for one in running]
        found += [offer for head in heads if (offer := _of_fitted(registry, head, provider))]
    return Offers(found, not_measured)


def _chosen(registry: ModelRegistry, name: str | None) -> tuple[list[Manifest], list[str]]:
    store = HeadStore(registry.root.parent)
    if name is not None and store.has(name):
        return [], [name]
    every = registry.list()
    if name is None:
        chosen = [one for one in every if one.kind == ENCODER]
    else:
        base = split_name(name)[0]
        chosen = [
            one for one in every if base in (split_name(one.name)[0], split_name(original_name(one))[0])
        ]
    if not chosen:
        what = f"There is no model {name!r} here" if name else "There is no encoder here"
        raise UnknownModel(f"{what}: see `inferstream models list` and `inferstream models pull`.")
    if chosen[0].kind not in (ENCODER, *USES):
        raise UsageError(
            "The speed of a language model depends on what it is asked: see `inferstream bench-assistant`."
        )
    names = {one.name for one in chosen}
    return chosen, [head for head in store.names() if store.load(head).base in names]


def _runs(manifest: Manifest, provider: str) -> bool:
    if provider == CPU:
        return True
    try:
        opened(manifest, provider)
    except ProviderUnavailable:  # it is made for another device
        return False
    return True


def _speeds(
    registry: ModelRegistry, manifests: Sequence[Manifest], provider: str, use: str, progress: Progress
) -> dict[str, MachineSpeed]:
    """As they were measured on this machine; the others are measured now, all in the same turns, and kept."""
    here = served_by(provider)
    known = {one.name: speed for one in manifests if (speed := one.speed_on(here, use))}
    missing = [one for one in manifests if one.name not in known]
    if not missing:
        return known
    texts = _texts(missing[0], _lengths(manifests, use))
    models = [_served_model(registry, one, provider) for one in missing]
    found = measured_speeds(models[0], models, texts, progress)
    for one in missing:
        speed = replace(found[one.name], times_original=None)  # another one of them may be the original
        known[one.name] = speed
        keep_speed(registry, one, speed, progress)
    return known


def _lengths(manifests: Sequence[Manifest], use: str) -> tuple[int, ...]:
    """The lengths of the rows that one of the models was measured with, on any machine; () if none was."""
    for one in manifests:
        judged = one.judgements[use].evaluation.speeds if use in one.judgements else ()
        for speed in (*judged, *one.speeds):
            return speed.tokens
    return ()


def _texts(manifest: Manifest, lengths: Sequence[int]) -> list[str]:
    """Texts of these lengths in tokens, of the words that are shipped; those as they are without lengths."""
    sentences, _ = load_sample()
    if not lengths or manifest.kind == TRANSLATOR:
        return sentences
    tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
    words = " ".join(sentences).split()
    return [
        _text_of(tokenizer, words[number * 31 % len(words) :] + words, length)
        for number, length in enumerate(lengths)
    ]


def _text_of(tokenizer: Tokenizer, words: Sequence[str], length: int) -> str:
    """The first of the words, about ``length`` tokens of them."""
    count = max(1, length - 2)
    while count > 1 and sum(map(len, tokenizer.encode([" ".join(words[:count])])[0])) > length:
        count -= max(1, count // 16)
    return " ".join(words[:count])


def _served_model(registry: ModelRegistry, manifest: Manifest, provider: str) -> ServedModel:
    if make := BY_NAME.get(USES.get(manifest.kind, "")):
        return make(registry, manifest.name, provider)
    return zero_shot_encoder(registry, manifest, None, provider)


def _of_variant(manifest: Manifest, provider: str, use: str, speed: MachineSpeed) -> Offer:
    judgement = manifest.judgements.get(use)
    closed = manifest.gate is not None and not manifest.gate.open
    offer = Offer(
        name=manifest.name,
        provider=provider,
        device=speed.served_by.device,
        original=original_name(manifest),
        agreement=None,
        p50_ms=speed.p50_ms,
        p99_ms=speed.p99_ms,
        rows_per_s=speed.rows_per_s,
        size_mb=sum(path.stat().st_size for path in files_of(manifest)) / 1e6,
        gate=manifest.gate,
    )
    if judgement is not None and judgement.evaluation.served_by.provider == provider:
        found = judgement.evaluation
        return replace(
            offer,
            original=found.original,
            agreement=found.agreement and found.agreement.value,
            gate=manifest.gate if closed else judgement.gate,
            note=f"as {found.original} on {found.rows} rows",
        )
    if manifest.name == offer.original:
        return replace(offer, agreement=1.0, note="the original")
    if manifest.agreement is not None and manifest.lineage is None and provider == CPU:
        same = manifest.agreement
        return replace(
            offer, agreement=same.label, note=f"as {offer.original} on {same.sentences} shipped sentences"
        )
    return replace(offer, note=_evaluate_it(manifest.name))


def _of_fitted(registry: ModelRegistry, name: str, provider: str) -> Offer | None:
    """Its speed depends on its texts, so it is known only where it was evaluated. None: it was not on this device."""
    store = HeadStore(registry.root.parent)
    head = store.load(name)
    judgement = read_judgement(store.root / name / head.version)
    here = served_by(provider)
    found = judgement.evaluation if judgement else None
    if provider != (found.served_by.provider if found else CPU):
        return None
    speed = found.speed_on(here) if found else None
    return Offer(
        name=name,
        provider=provider,
        device=here.device,
        original=found.original if found else "",
        agreement=found.agreement.value if found and found.agreement else None,
        p50_ms=speed.p50_ms if speed else None,
        p99_ms=speed.p99_ms if speed else None,
        rows_per_s=speed.rows_per_s if speed else None,
        size_mb=(found.size_bytes or 0) / 1e6 if found else 0.0,
        gate=judgement.gate if judgement else None,
        note=f"as {found.original} on {found.rows} rows" if found and speed else _evaluate_it(name),
    )


def _evaluate_it(name: str) -> str:
    return f"not measured here: inferstream models evaluate {name} DATA"
