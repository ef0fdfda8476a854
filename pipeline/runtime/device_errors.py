"""Which of our errors an error of ONNX Runtime is."""

from collections.abc import Iterable

from ..errors import DeviceError, DeviceLost, DeviceOutOfMemory, DeviceUnavailable

# Parts of ONNX Runtime's messages, in lower case. The types of its errors do not distinguish these
# cases.
OUT_OF_MEMORY = (
    "out of memory",
    "failed to allocate",
    "bad_alloc",
    "available memory",
    "status_alloc_failed",
)
OF_THE_DEVICE = (
    "cuda failure",
    "cuda error",
    "cublas failure",
    "cublas error",
    "cudnn failure",
    "cudnn error",
    "cudnn_fe failure",
    "device-side assert",
    "device lost",
    "device instance has been suspended",
    "gpu is lost",
)
OF_THE_INPUT = (
    "invalid argument",
    "invalid configuration argument",
    "invalid_value",
    "bad_param",
    "not_supported",
)
# CUDA's documentation says of most of these: "the process must be terminated and relaunched".
PERMANENT = (
    "an illegal memory access was encountered",
    "the launch timed out and was terminated",
    "device-side assert",
    "hardware stack error",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "unspecified launch failure",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "device lost",
    "device instance has been suspended",
    "gpu is lost",
)


def device_error(error: Exception) -> DeviceError | DeviceOutOfMemory | DeviceUnavailable:
    """Our error for an error of a run, by its cause: the input, the size of the batch, or the device."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or _has_any(text, OUT_OF_MEMORY):
        return DeviceOutOfMemory(
            "The device has no memory for this batch; it is tried again with fewer tokens."
        )
    if not _has_any(text, OF_THE_DEVICE) or _has_any(text, OF_THE_INPUT):
        return DeviceError(f"The model cannot run this input: {first_line(error)}.")
    if _has_any(text, PERMANENT):
        return DeviceLost(f"The device is lost until the process is started again: {first_line(error)}.")
    return DeviceUnavailable(
        f"The device failed for a reason other than the input; the batch is tried again: {first_line(error)}."
    )


def _has_any(text: str, parts: Iterable[str]) -> bool:
    return any(part in text for part in parts)


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
