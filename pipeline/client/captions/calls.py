"""`Client.translate_stream`: its documentation, and the check of its arguments."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

from ....schemas.messages import Request
from ....schemas.translation import TranslateOptions
from ...errors import UsageError
from ..arguments import check
from ..call import Call
from ..envelope import Envelope
from ..keywords import DEFAULT_TIMEOUT_S, STREAM_LEASE_S
from ..reading import Reading
from .modes import Mode
from .requests import Reply, StreamRequests
from .stream import Segments, TranslationStream

HOLD_BACK_S: Final = 2.0


class CaptionCalls(ABC):
    """Streams of captions over the untyped methods of a client."""

    def translate_stream(
        self,
        source: str,
        target: str,
        segments: Segments | None = None,
        *,
        mode: Mode = "stable",
        name: str | None = None,
        glossary: Mapping[str, str] | None = None,
        model: str | None = None,
        tenant: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        lease_s: float | None = STREAM_LEASE_S,
        hold_back_s: float = HOLD_BACK_S,
    ) -> TranslationStream:
        """Translate the segments of one speaker, in order, while they are spoken::

            async with client.translate_stream("en", "pt") as stream:
                await stream.send("I was charged", final=False)
                await stream.send("I was charged twice.")
                await stream.end()
                async for caption in stream:
                    print(caption.segment, caption.text, caption.final)

        Each segment gets exactly one final caption, in the order of the segments. A final is sent again until it
        is answered, after a refusal under overload or a lost connection. Partials that fail, or that a newer
        text supersedes, are passed over.

        Args:
            source: the language of the segments, as "en".
            target: the language of the captions, as "pt".
            segments: an iterable of them, also an asynchronous one, instead of `send`: a string is a whole
                segment, a Partial what is known of one that grows.
            mode: what a reader sees before the final. ``stable``: words that two translations in a row agree on.
                ``live``: each translation at once, though words change. ``final``: nothing.
            name: of the stream, unique among those of all clients: the key of its requests, and the first part
                of their ids. Default: a new name.
            glossary: terms and their translations.
            timeout_s: seconds until a final must be answered, its retries included.
            lease_s: if this process ends, workers drop what is left of the stream after this many seconds.
            hold_back_s: in the mode ``stable``, how long a word may be held back.

        An unknown pair of languages raises UnknownModel at the first segment. docs/streams.md has all answers to
        wrong input.
        """
        check(source=source, target=target, mode=mode, name=name, hold_back_s=hold_back_s)
        if segments is not None:
            check(texts=segments)
        if timeout_s is None:
            raise UsageError("`timeout_s` must be a number of seconds: finals are sent again until then.")
        options = TranslateOptions(source, target, glossary=dict(glossary or {}))
        name = name or self._new_id()
        envelope = Envelope(model, tenant, None, timeout_s, name.encode(errors="replace"), None, lease_s)
        call = Call("translate", envelope, options)
        return TranslationStream(StreamRequests(name, call, timeout_s, self), mode, hold_back_s, segments)

    @abstractmethod
    def _new_id(self) -> str: ...

    @abstractmethod
    async def _send(self, call: Call, request: Request, reading: Reading | None = None) -> Reply: ...

    @abstractmethod
    async def _open_replies(self, call: Call) -> Any: ...
