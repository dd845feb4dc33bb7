"""From tokens to text that may be shown: whole characters only, nothing of a stop string."""

from collections.abc import Callable, Sequence

_BROKEN = "\ufffd"


class Pieces:
    """Collects the tokens of one completion and says which new text is final.

    A character whose bytes are not all there yet is held back, and so is text that might be the
    beginning of a stop string. ``stopped`` tells that a stop string was completed; it and what
    follows are never shown.
    """

    def __init__(
        self, decode: Callable[[list[int]], str], stop: Sequence[str], context: Sequence[int] = ()
    ) -> None:
        """Begin after ``context``, the prompt's last tokens: some tokenizers drop a first space."""
        self._decode = decode
        self._stop = tuple(text for text in stop if text)
        self._ids = list(context)
        self._skip = len(decode(self._ids)) if self._ids else 0
        self._shown = 0
        self.stopped = False

    def push(self, token: int) -> str:
        """Add a token; return the text that became final, perhaps empty."""
        self._ids.append(token)
        return self._release(self._text().rstrip(_BROKEN), last=False)

    def finish(self) -> str:
        """Return what was held back; call once, at the end, unless ``stopped``."""
        return self._release(self._text(), last=True)

    def _text(self) -> str:
        return self._decode(self._ids)[self._skip :]

    def _release(self, text: str, *, last: bool) -> str:
        ends = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if ends:
            self.stopped = True
            text = text[: min(ends)]
        elif not last:
            text = text[: len(text) - self._held(text)]
        piece = text[self._shown :]
        self._shown = max(self._shown, len(text))
        return piece

    def _held(self, text: str) -> int:
        """Return the length of the longest end of ``text`` that begins a stop string."""
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest
