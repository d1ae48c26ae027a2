"""Batches for FlowLM: packed rows of [start, text, latents] in a few lengths.

A row holds one utterance exactly as the model meets it at run time: `bos_before_voice` (or the
vector that leads its speaker), the text, then `bos_emb` and the latents, with no gap; padding
stands behind, where a causal model cannot see it. Utterances are grouped by length (`Bucket`), so
that little is padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sentencepiece import SentencePieceProcessor

from training.data.phonemes import word_spans
from training.data.spectra import FRAME, SAMPLE_RATE
from training.data.streams import LATENT_DIM, FrameStream, Utterance, open_streams
from training.errors import TrainingError

# Speech ends in about 0.2 s of silence; the end is declared this many frames before its last.
END_LEAD = 2
# Texts of at most so many tokens are also joined in pairs, with so many frames of silence.
SHORT_TEXT = 45
PAUSE = 2
EDGE = 0.006  # seconds of a token in a frame that do not count


@dataclass(frozen=True)
class Bucket:
    positions: int  # 1 + text + frames
    frames: int
    rows: int


BUCKETS = (
    Bucket(72, 36, 20),
    Bucket(112, 56, 13),
    Bucket(208, 104, 7),
)


class Batch(NamedTuple):
    """b rows of t positions, of which a are audio. Positions are absolute within the row."""

    speaker: Int[np.ndarray, " b"]  # 0 is led by the start token, n by the n-th voice
    tokens: Int[np.ndarray, "b t"]  # 0 where there is no text
    text_length: Int[np.ndarray, " b"]
    latents: Float[np.ndarray, "b a z"]  # normalised targets
    frames: Int[np.ndarray, " b"]
    end: Int[np.ndarray, " b"]  # first frame at which speech has ended
    word_start: Int[np.ndarray, "b a"]  # positions of the word being spoken in each frame
    word_end: Int[np.ndarray, "b a"]  # 0 where unknown
    token_start: Int[np.ndarray, "b a"]  # positions of the tokens heard in each frame
    token_end: Int[np.ndarray, "b a"]


@dataclass(frozen=True)
class Example:
    """One utterance in memory. `words` are per frame the token span of the word and that of what
    is heard of it; None where unknown."""

    text: str
    tokens: Int[np.ndarray, " n"]
    latents: Float[np.ndarray, "a z"]  # normalised
    end: int
    words: Int[np.ndarray, "a 4"] | None
    speaker: int = 0


def declared_end(speech: int) -> int:
    """The frame at which the end of so many frames of speech is declared."""
    return max(0, speech - END_LEAD)


def frame_tokens(
    ends: Sequence[float] | None, spans: Sequence[tuple[int, int]], frames: int
) -> Int[np.ndarray, "a 4"] | None:
    """Per frame the token span of the word in its middle, and of all tokens heard in it. `ends` are
    the seconds at which the tokens end; None where they are unknown."""
    if ends is None:
        return None
    if len(ends) != spans[-1][1]:
        raise TrainingError(
            f"{len(ends)} token ends for {spans[-1][1]} tokens: these frames were made with "
            "another tokenizer. Give the one that the teacher read with."
        )
    length, last = FRAME / SAMPLE_RATE, len(ends) - 1
    start = np.arange(frames) * length
    first = np.minimum(np.searchsorted(ends, start + EDGE, side="right"), last)
    stop = np.minimum(np.searchsorted(ends, start + length - EDGE), last) + 1
    middle = np.minimum(np.searchsorted(ends, start + length / 2), last)
    word = np.searchsorted([span[1] for span in spans], middle, side="right")
    words = np.asarray(spans, np.int32)[word]
    return np.concatenate([words, np.stack([first, stop], axis=1)], axis=1).astype(np.int32)


def spoken_tokens(
    utterance: Utterance, tokenizer: SentencePieceProcessor
) -> tuple[Sequence[str], Int[np.ndarray, " n"]]:
    """What was spoken, also where the tokenizer has learned to read better since."""
    pieces = utterance.pieces or tokenizer.encode(utterance.text, out_type=str)
    tokens = np.array([tokenizer.piece_to_id(piece) for piece in pieces], np.int32)
    if utterance.pieces and tokenizer.unk_id() in tokens:
        raise TrainingError(
            f"{utterance.text!r} was spoken in tokens that this tokenizer lacks. Give one with "
            "the vocabulary that the teacher read with."
        )
    return pieces, tokens


def named_speakers(streams: Sequence[FrameStream]) -> tuple[str, ...]:
    return tuple(sorted({u.speaker for s in streams for u in s.utterances if u.speaker}))


class Examples:
    """The training utterances of a folder that have latents, by bucket; `reload` finds new ones.

    `speakers` are the named ones, in the order of their names; others take no part in them. The
    order depends on the data alone, not on when it was found: a batch is the same for the same
    (seed, step) and data.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: SentencePieceProcessor,
        mean: Float[np.ndarray, " z"],
        std: Float[np.ndarray, " z"],
    ) -> None:
        self.folder, self.tokenizer = folder, tokenizer
        self.mean, self.std = mean, std
        self._read: dict[str, list[Example | None]] = {}  # by stream; None where held out
        streams = open_streams(folder)
        self.speakers = named_speakers(streams)
        self._take(streams)

    def reload(self) -> int:
        """Read what was added to the folder; returns the number of rows to draw from: utterances
        that fit a bucket, and pairs of short ones."""
        return self._take(open_streams(self.folder))

    def _take(self, streams: Sequence[FrameStream]) -> int:
        self.train: dict[Bucket, list[Example]] = {bucket: [] for bucket in BUCKETS}
        for stream in streams:
            read = self._read.setdefault(stream.name, [])
            for u in stream.utterances[len(read) :]:
                if u.first + u.frames > len(stream.latents):
                    break
                read.append(None if u.held_out else self._example(u, stream.latents))
            self._shelve([example for example in read if example is not None])
        rows = sum(map(len, self.train.values()))
        if not rows:
            raise FileNotFoundError(
                f"{self.folder} has no utterance to train on: each is held out, too long or "
                "without latents. Add others, and run python -m training.mel_codec encode."
            )
        return rows

    def _example(self, u: Utterance, latents: Float[np.ndarray, "t z"]) -> Example:
        pieces, tokens = spoken_tokens(u, self.tokenizer)
        words = frame_tokens(u.ends, word_spans(pieces), u.frames)
        normal = (latents[u.first : u.first + u.frames] - self.mean) / self.std
        speaker, end = self._number(u.speaker), declared_end(u.speech)
        return Example(u.text, tokens, normal.astype(np.float32), end, words, speaker)

    def _number(self, speaker: str | None) -> int:
        if speaker is not None and speaker not in self.speakers:
            raise TrainingError(
                f"{self.folder} has got a new speaker, {speaker}, whom this run has no voice for. "
                "Begin another run, with --start for what this one has learned."
            )
        return 0 if speaker is None else 1 + self.speakers.index(speaker)

    def _shelve(self, examples: list[Example]) -> None:
        """Each in the smallest bucket that holds it, and so the short ones two by two."""
        short = [example for example in examples if len(example.tokens) <= SHORT_TEXT]
        pairs = zip(short[::2], short[1::2], strict=False)
        joined = [join(a, b) for a, b in pairs if a.speaker == b.speaker]
        for example in examples + joined:
            bucket = smallest_bucket(example)
            if bucket is not None:
                self.train[bucket].append(example)

    def batch(self, seed: int, step: int, multiple: int = 1) -> tuple[Bucket, Batch]:
        """The batch of a step. Rows are a multiple of `multiple`."""
        draw = np.random.default_rng([seed, step])
        buckets = [bucket for bucket in BUCKETS if self.train[bucket]]
        shares = np.array([len(self.train[bucket]) / bucket.rows for bucket in buckets])
        bucket = buckets[int(draw.choice(len(buckets), p=shares / shares.sum()))]
        rows = -(-bucket.rows // multiple) * multiple
        chosen = draw.integers(0, len(self.train[bucket]), rows)
        return bucket, collate([self.train[bucket][i] for i in chosen], bucket)


def join(first: Example, second: Example) -> Example:
    """Two utterances of one speaker in one row, a short pause between: the front end puts several
    short sentences into one chunk."""
    cut = first.end + END_LEAD + PAUSE
    shift = len(first.tokens)
    words = None
    if first.words is not None and second.words is not None:
        words = np.concatenate([first.words[:cut], second.words + shift])
    return Example(
        f"{first.text} {second.text}",
        np.concatenate([first.tokens, second.tokens]),
        np.concatenate([first.latents[:cut], second.latents]),
        cut + second.end,
        words,
        first.speaker,
    )


def smallest_bucket(example: Example) -> Bucket | None:
    positions = 1 + len(example.tokens) + len(example.latents)
    for bucket in BUCKETS:
        if positions <= bucket.positions and len(example.latents) <= bucket.frames:
            return bucket
    return None


def collate(examples: Sequence[Example], bucket: Bucket) -> Batch:
    b, t, a = len(examples), bucket.positions, bucket.frames
    batch = Batch(
        speaker=np.array([e.speaker for e in examples], np.int32),
        tokens=np.zeros((b, t), np.int32),
        text_length=np.array([len(e.tokens) for e in examples], np.int32),
        latents=np.zeros((b, a, LATENT_DIM), np.float32),
        frames=np.array([len(e.latents) for e in examples], np.int32),
        end=np.array([e.end for e in examples], np.int32),
        word_start=np.zeros((b, a), np.int32),
        word_end=np.zeros((b, a), np.int32),
        token_start=np.zeros((b, a), np.int32),
        token_end=np.zeros((b, a), np.int32),
    )
    for i, example in enumerate(examples):
        n, frames = len(example.tokens), len(example.latents)
        batch.tokens[i, 1 : n + 1] = example.tokens
        batch.latents[i, :frames] = example.latents
        if example.words is not None:
            batch.word_start[i, :frames] = np.maximum(example.words[:, 0] - 1, 0) + 1
            batch.word_end[i, :frames] = np.minimum(example.words[:, 1] + 1, n) + 1
            batch.token_start[i, :frames] = example.words[:, 2] + 1
            batch.token_end[i, :frames] = example.words[:, 3] + 1
    return batch
