"""What was measured of a variant beside its original, and the judgement on it.

A figure that is None was not measured.
"""

from msgspec import Struct
from msgspec.structs import replace

FITTED = "fitted"  # uses: a head fitted anew on the vectors of the variant, or a fitted model itself
ZERO_SHOT = "zero-shot"
CLASSIFY = "classify"  # a model with labels of its own
TRANSLATE = "translate"
GENERATE = "generate"


class Estimate(Struct, frozen=True):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class LabelMetrics(Struct, frozen=True):
    """Of the rows with one label."""

    rows: int
    precision: float
    recall: float


class ServedBy(Struct, frozen=True):
    """The session that was measured: the one that serves, with the same options."""

    provider: str  # cpu, cuda or tensorrt
    device: str  # the model of the CPU or GPU
    threads: int
    runtime: str  # the version of ONNX Runtime


class ShapeLatency(Struct, frozen=True):
    """Of single rows with about this number of tokens, from the text to the answer, in milliseconds."""

    tokens: int
    p50_ms: float
    p99_ms: float


class MachineSpeed(Struct, frozen=True):
    """On one machine, in turns that alternate with the original's; of other machines it says nothing."""

    served_by: ServedBy
    tokens: tuple[int, ...]  # of the measured rows, in rising order: their lengths are the data's
    latencies: tuple[ShapeLatency, ...]
    p50_ms: float  # over the measured rows, each alone; of a row the median of its turns
    p99_ms: float
    rows_per_s: float  # in batches, of one core's time
    times_original: Estimate | None = None  # rows_per_s ÷ the original's, of the same turns
    resident_bytes: int | None = None  # what a process takes to load and run it, beside the libraries


def merged_speeds(
    newer: tuple[MachineSpeed, ...], older: tuple[MachineSpeed, ...]
) -> tuple[MachineSpeed, ...]:
    """The newer ones, and those of other machines and devices."""
    measured = {speed.served_by for speed in newer}
    return (*newer, *(speed for speed in older if speed.served_by not in measured))


class Evaluation(Struct, frozen=True, omit_defaults=True):
    """A variant beside its original, on rows that neither was made from."""

    use: str  # FITTED, …
    version: str  # of the variant that was measured
    original: str  # minilm-fp32
    original_version: str
    served_by: ServedBy
    rows: int
    rows_sha256: str
    fitted_rows: int = 0  # that a head was fitted on, for this measurement alone
    seed: int = 0
    accuracy: Estimate | None = None
    original_accuracy: float | None = None
    share: Estimate | None = None  # of the original's accuracy, paired
    macro_f1: float | None = None
    original_macro_f1: float | None = None
    calibration_error: float | None = None
    original_calibration_error: float | None = None
    by_label: dict[str, LabelMetrics] = {}
    agreement: Estimate | None = None  # share of the rows with the original's answer
    out_of_scope: float | None = None  # share of the foreign texts that are sent to a human
    original_out_of_scope: float | None = None
    negation: float | None = None  # share of the negated texts with the right answer, where a file has it
    original_negation: float | None = None
    negation_agreement: float | None = None  # share of the negated texts with the original's answer
    static_share: float | None = None  # of the answers: those of the static tier
    cosine_mean: float | None = None
    cosine_min: float | None = None
    size_bytes: int | None = None  # of all files that are read to serve it
    bleu: float | None = None  # against the original's translations
    chrf: float | None = None
    reference_bleu: float | None = None  # against translations by people
    original_reference_bleu: float | None = None
    kl: float | None = None  # of the next token's probabilities, in nats
    top1: float | None = None
    perplexity: float | None = None
    original_perplexity: float | None = None
    speeds: tuple[MachineSpeed, ...] = ()  # the latest of each machine and device

    def speed_on(self, served_by: ServedBy) -> MachineSpeed | None:
        """What was measured by a session like this one."""
        return next((speed for speed in self.speeds if speed.served_by == served_by), None)


class Gate(Struct, frozen=True, omit_defaults=True):
    """The judgement on a variant by thresholds that are relative to its original. It stays in the manifest."""

    thresholds: dict[str, float]  # {"min_share": 0.97}
    passed: bool
    failures: tuple[str, ...] = ()  # a sentence for each threshold that is missed
    forced: bool = False  # published although it did not pass, now or ever before

    @property
    def open(self) -> bool:
        """Whether a worker may serve the variant."""
        return self.passed or self.forced


class Judgement(Struct, frozen=True):
    """What was measured of a variant for one use, and whether that is good enough."""

    evaluation: Evaluation
    gate: Gate

    def after(self, older: "Judgement | None") -> "Judgement":
        """This one in the place of ``older``: that it was forced stays, and the speeds on other machines."""
        if older is None or older.evaluation.version != self.evaluation.version:
            return self
        return Judgement(
            replace(self.evaluation, speeds=merged_speeds(self.evaluation.speeds, older.evaluation.speeds)),
            replace(self.gate, forced=self.gate.forced or older.gate.forced),
        )
