"""Finds the most likely path through the words of a chunk, frame by frame.

Attention gives the weight of each token of the text for each frame of audio. The path assigns every
frame to a word, or to the marks after one, and never goes back. It is found by Viterbi's algorithm
with a fixed lag.
"""

from collections.abc import Sequence

import numpy as np

from pocket_tts_jax.shapes import Float

LAG = 3  # the word of a frame is decided this many frames later (0.24 s)
_FLOOR = 0.02  # share of the attention that any word may have without being spoken
_SKIP = -6.0  # log likelihood of a word without a frame of its own
_IMPOSSIBLE = -1e30

Span = tuple[int, int]


class Path:
    """One chunk's path. `units` are the tokens (start, end) of its words, without overlaps.

    `push` takes the attention of the next frame. `push` and `finish` return the places of the
    frames that are now decided, each once. Place 2 u + 1 is unit u, 2 u + 2 the tokens between it
    and the next one, 0 those before the first.
    """

    def __init__(self, units: Sequence[Span], tokens: int) -> None:
        inside = np.zeros((2 * len(units) + 1, tokens), np.float32)
        end = 0
        for u, (first, last) in enumerate(units):
            inside[2 * u, end:first] = 1
            inside[2 * u + 1, first:last] = 1
            end = last
        inside[-1, end:] = 1
        # There is no place between two words without a token between them.
        self._places = np.flatnonzero((inside.sum(1) > 0) | (np.arange(len(inside)) % 2 == 1))
        self._inside = inside[self._places]
        self._is_word = (self._places % 2).astype(np.float64)
        self._before = np.cumsum(self._is_word) - self._is_word  # words before each place
        self._scores: Float[np.ndarray, " places"] | None = None
        self._back: list[np.ndarray] = []  # for each undecided frame, the previous places
        self.log_likelihood = 0.0  # of the whole path, once it is finished

    def push(self, attention: Float[np.ndarray, "heads tokens"]) -> list[int]:
        likelihood = self._likelihood(attention)
        if self._scores is None:
            self._scores = _SKIP * self._before + likelihood
            self._back.append(np.arange(len(likelihood)))
        else:
            entry = self._scores - _SKIP * (self._before + self._is_word)
            best = _running_argmax(entry)
            came = np.concatenate([[0], best[:-1]])
            moved = entry[came] + _SKIP * self._before
            moved[0] = _IMPOSSIBLE
            stays = self._scores >= moved
            self._back.append(np.where(stays, np.arange(len(stays)), came))
            self._scores = np.where(stays, self._scores, moved) + likelihood
        if len(self._back) <= LAG:
            return []
        return [self._decide(int(np.argmax(self._scores)))]

    def finish(self) -> list[int]:
        """The places of the last frames, on the path that has reached the most words."""
        if self._scores is None:
            return []
        totals = self._scores + _SKIP * (self._is_word.sum() - self._before - self._is_word)
        place, decided = int(np.argmax(totals)), []
        self.log_likelihood = float(totals[place])
        while self._back:
            decided.append(self._decide(place))
        return decided

    def _likelihood(self, attention: Float[np.ndarray, "heads tokens"]) -> np.ndarray:
        """The log likelihood of each place, from the share of the attention on its tokens, averaged
        over heads."""
        weights = np.asarray(attention, np.float64)
        total = weights.sum(1, keepdims=True)
        shares = np.where(total > 0, weights / np.maximum(total, 1e-9), 1 / weights.shape[1])
        return np.log(self._inside @ shares.mean(0) + _FLOOR)

    def _decide(self, place: int) -> int:
        """Decide the oldest frame by the path that is now in `place`; drop the other paths."""
        origin = np.arange(len(self._places))
        for back in reversed(self._back[1:]):
            origin = back[origin]
        chosen = origin[place]
        assert self._scores is not None
        self._scores = np.where(origin == chosen, self._scores, _IMPOSSIBLE)
        self._back.pop(0)
        return int(self._places[chosen])


def _running_argmax(values: np.ndarray) -> np.ndarray:
    """For each index, the index of the largest value up to it."""
    best = np.maximum.accumulate(values)
    new = np.concatenate([[True], values[1:] > best[:-1]])
    return np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))
