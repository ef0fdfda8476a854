"""What was measured of a variant, and whether that is good enough to be served."""

from msgspec import Struct


class Interval(Struct, frozen=True):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class LabelMetrics(Struct, frozen=True):
    """Of the rows with one label."""

    rows: int
    precision: float
    recall: float


class ShapeLatency(Struct, frozen=True):
    """Of a single row, from its text to its answer, in milliseconds."""

    tokens: int
    p50_ms: float
    p99_ms: float


class ServedBy(Struct, frozen=True):
    """The session that was measured: the one that serves, with the same options."""

    provider: str  # cpu, cuda or tensorrt
    device: str  # the model of the CPU or GPU
    threads: int
    runtime: str  # the version of ONNX Runtime


class Metrics(Struct, frozen=True, omit_defaults=True):
    """A variant beside its original, on rows that neither was made from. None: was not measured."""

    original: str  # minilm-fp32
    original_version: str
    served_by: ServedBy
    rows: int
    rows_sha256: str
    seed: int = 0
    accuracy: Interval | None = None
    share: Interval | None = None  # of the original's accuracy, paired
    macro_f1: float | None = None
    calibration_error: float | None = None
    by_label: dict[str, LabelMetrics] = {}
    out_of_scope: float | None = None  # share of the foreign rows that are sent to a human
    negation: float | None = None  # share of the negated rows whose answer is right
    cosine_mean: float | None = None
    cosine_min: float | None = None
    agreement: Interval | None = None  # share of the rows with the original's answer
    latencies: tuple[ShapeLatency, ...] = ()
    p50_ms: float | None = None  # at the lengths of the rows
    p99_ms: float | None = None
    rows_per_s: float | None = None  # one core
    size_bytes: int | None = None
    resident_bytes: int | None = None
    bleu: float | None = None  # against the original's translations, as chrf
    chrf: float | None = None
    kl: float | None = None  # of the next token's probabilities, in nats
    top1: float | None = None
    perplexity: float | None = None


class Gate(Struct, frozen=True, omit_defaults=True):
    """The judgement on a variant by thresholds that are relative to its original. It stays in the manifest."""

    thresholds: dict[str, float]  # {"min_share": 0.97}
    passed: bool
    failures: tuple[str, ...] = ()  # a sentence for each threshold that is missed
    forced: bool = False  # published although it did not pass

    @property
    def open(self) -> bool:
        """Whether a worker may serve the variant."""
        return self.passed or self.forced
