"""Which attention heads follow the text: the step returns their attention, and word times come
from it.

A head is (layer, head), both counted from 0. The heads of published models are those that
`pocket-tts-timestamped` (https://github.com/dpm63/pocket-tts-timestamped, README) chose by the
error of word times against a forced aligner: 38 to 72 ms, depending on the model. Models whose
heads nobody has looked for get a guess, and say so.
"""

from dataclasses import dataclass

from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import ConfigError

Heads = tuple[tuple[int, int], ...]

MEASURED = "https://github.com/dpm63/pocket-tts-timestamped"
RELATED = f"{MEASURED}, for the model this one was trained from"
OWN = "the model's voice.json"
UNKNOWN = "unknown"

_ENGLISH: Heads = ((3, 8), (2, 0))
_ENGLISH_24L: Heads = ((14, 10), (17, 11), (15, 4))
_PUBLISHED: dict[str, tuple[Heads, str]] = {
    "dutch": (((4, 5), (3, 9), (3, 14), (2, 0)), MEASURED),
    "dutch_24l": (((17, 13), (17, 11)), MEASURED),
    "english": (_ENGLISH, MEASURED),
    "english_2026-01": (_ENGLISH, MEASURED),
    "english_2026-04": (_ENGLISH, MEASURED),
    "english_2026-04_24l": (_ENGLISH_24L, MEASURED),
    "english_2026-09": (_ENGLISH, MEASURED),
    "english_2026-09_2": (_ENGLISH, RELATED),
    "english_2026-09_24l": (_ENGLISH_24L, MEASURED),
    "english_2026-10": (_ENGLISH, RELATED),
    "english_drifting_26-09": (((2, 15),), MEASURED),
    "french": (((3, 9),), MEASURED),
    "french_24l": (((17, 13), (16, 9), (18, 5), (17, 11)), MEASURED),
    "german": (((3, 14), (3, 9), (3, 10)), MEASURED),
    "german_24l": (((17, 11), (15, 4)), MEASURED),
    "italian": (((3, 9), (4, 5), (3, 10)), MEASURED),
    "italian_24l": (((17, 13), (13, 10), (18, 5), (14, 10)), MEASURED),
    "portuguese": (((3, 9), (4, 2), (4, 5), (3, 14), (3, 4)), MEASURED),
    "portuguese_24l": (((17, 13), (18, 1), (20, 12)), MEASURED),
    "spanish": (((3, 9), (4, 2), (4, 5), (3, 10)), MEASURED),
    "spanish_24l": (((17, 13), (17, 11), (18, 1)), MEASURED),
}
_GUESSED_HEADS = 4


@dataclass(frozen=True)
class Alignment:
    """The heads, and where the choice comes from (`UNKNOWN`: a guess)."""

    heads: Heads
    source: str


def alignment_of(
    config: Config, published: str | None = None, own: list[list[int]] | None = None
) -> Alignment:
    """The heads of a model: its `own`, those of a `published` name, or a guess.

    Raises ConfigError for heads that the model does not have.
    """
    if own is not None:
        found = Alignment(tuple(map(tuple, own)), OWN)  # pyright: ignore
    elif published in _PUBLISHED:
        found = Alignment(*_PUBLISHED[published])
    else:
        found = Alignment(_guess(config), UNKNOWN)
    lm = config.flow_lm.transformer
    known = {(layer, head) for layer in range(lm.num_layers) for head in range(lm.num_heads)}
    if not found.heads or not known.issuperset(found.heads):
        raise ConfigError(
            f"alignment_heads are [layer, head] pairs of a model with {lm.num_layers} layers of "
            f"{lm.num_heads} heads, at least one; got {list(found.heads)}. Find them with "
            "python -m training.find_heads, or leave them out."
        )
    return found


def _guess(config: Config) -> Heads:
    """A few heads of the layer in the middle, where those of all measured models are."""
    lm = config.flow_lm.transformer
    return tuple((lm.num_layers // 2, head) for head in range(min(_GUESSED_HEADS, lm.num_heads)))
