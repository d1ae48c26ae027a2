"""Which attention heads of a model follow the text it speaks.

    python -m training.find_heads --model FOLDER --voice NAME --sentences sentences.txt

Word times come from the attention of a few heads. For the embedded voice and Kyutai's models they
are known (`pocket_tts_jax.weights.alignment`); for another checkpoint this finds them from its own
speech, without any recording or alignment. Every head is scored by how likely its attention is
along the best monotonic path through all words (`pocket_tts_jax.alignment.path`). Some heads are
monotonic and look at the next word, or at the last one: where words start, sound gets louder, and a
head whose starts would fit better some frames earlier or later is left out. The best head is taken,
then others as long as they make the path likelier. Put the line that is printed into the
`voice.json` of the model's folder. It needs the weights, not an export.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pocket_tts_jax.alignment.path import Path as WordPath
from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.generation.ending import EndOfSpeech
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.jax_engine.engine import JaxEngine
from pocket_tts_jax.text.pipeline import language_of
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.alignment import Alignment, Heads
from pocket_tts_jax.weights.source import open_source
from training.command_line import command_parser, run_command
from training.judging.sentences import read_lines

SENTENCES = (
    "The train was late again, so we walked home along the river in the rain.",
    "Nobody had told the old gardener that the house would be sold before winter.",
    "If you leave now, you can still catch the last boat to the island.",
    "Twelve small lamps were hanging over the table, and only three of them were lit.",
    "She opened the letter slowly, read it twice, and put it back into the drawer.",
    "They have been friends since school, although they agree about almost nothing.",
)
MOST = 4  # heads: each costs a little in every step
GAIN = 0.02  # of log likelihood a frame, below which another head is not worth its cost

SHIFTS = range(-3, 4)  # frames
LEVEL_SECONDS = 0.005


class Speech(NamedTuple):
    """A chunk, what all heads looked at while it was made, and how loud it is, in dB."""

    prompt: Prompt
    attention: Float[np.ndarray, "frames heads tokens"]
    levels: Float[np.ndarray, "frames steps"]


def all_heads(config: Config) -> Heads:
    lm = config.flow_lm.transformer
    return tuple((layer, head) for layer in range(lm.num_layers) for head in range(lm.num_heads))


def open_with_all_heads(model: str | None, language: str | None) -> TTSModel:
    """A model on JAX whose steps return the attention of every head."""
    source = open_source(model=None if model is None else Path(model), language=language)
    alignment = Alignment(all_heads(source.config), "all of them")
    engine = JaxEngine(source.config, source.load_tensors(), alignment)
    return TTSModel(source, engine)


def speak(model: TTSModel, voice: VoiceState, prompt: Prompt, seed: int = 0) -> Speech:
    """A chunk with the attention of all heads."""
    sampling = model.sampling(seed)
    latents = model.engine.start(voice, prompt, sampling.flow_steps)
    end, decoder = EndOfSpeech.of(sampling, prompt), model.engine.decoder()
    attention, audio = [], []
    for frame in range(prompt.max_frames):
        width, variance = model.config.latent_dim, sampling.temperature
        drawn = noise(chunk_key(seed, 0), frame, 1, width, variance, sampling.noise_clamp)
        step = latents.step(drawn[0])
        if end.reached(frame, step.eos_logit):
            break
        attention.append(step.attention)
        audio.append(decoder.decode(step.latent[None]))
    step = round(LEVEL_SECONDS * model.sample_rate)
    powers = np.square(np.stack(audio).reshape(len(audio), -1, step)).mean(2)
    return Speech(prompt, np.stack(attention), 10 * np.log10(powers + 1e-8))


def follow(speech: Speech, heads: Sequence[int]) -> tuple[list[int], float]:
    """The place of each frame by the attention of some heads, and the path's log likelihood."""
    words = speech.prompt.words
    units = sorted({(word.first_token, word.last_token) for word in words})
    path, places = WordPath(units, len(speech.prompt.ids)), []
    for row in speech.attention[:, list(heads)]:
        places += path.push(row)
    places += path.finish()
    return places, path.log_likelihood


def likelihood(spoken: Sequence[Speech], heads: Sequence[int]) -> float:
    """Log likelihood of the best paths, by frame; 0 is about the best."""
    total = sum(follow(speech, heads)[1] for speech in spoken)
    return total / sum(len(speech.attention) for speech in spoken)


def lead(spoken: Sequence[Speech], head: int) -> int:
    """How many frames a head is ahead of the sound (behind it, if negative).

    At the right place the first frame of a word is louder than the quietest moment before it.
    """
    rises: dict[int, list[float]] = {shift: [] for shift in SHIFTS}
    for speech in spoken:
        places, _ = follow(speech, [head])
        starts = [i for i in range(1, len(places)) if places[i] > places[i - 1] and places[i] % 2]
        for start in starts:
            for shift in SHIFTS:
                if 0 < start + shift < len(places):
                    before, behind = speech.levels[start + shift - 1], speech.levels[start + shift]
                    half = len(before) // 2
                    rises[shift].append(float(behind[:half].mean() - before[half:].min()))
    means = {shift: np.mean(values) for shift, values in rises.items() if values}
    return max(means, key=lambda shift: means[shift]) if means else 0


def find_heads(spoken: Sequence[Speech], most: int = MOST) -> list[int]:
    """The heads that together follow the text best, the best of them first."""
    count = spoken[0].attention.shape[1]
    alone = [likelihood(spoken, [head]) for head in range(count)]
    ranked = sorted(range(count), key=lambda head: -alone[head])[: 8 * most]
    ranked = [head for head in ranked if lead(spoken, head) == 0]
    if not ranked:
        raise ConfigError(
            "No head of this model follows its own speech: word times would be guesses. Check that "
            "it speaks the sentences (python -m training.evaluate), or give others."
        )
    chosen, reached = [ranked[0]], alone[ranked[0]]
    while len(chosen) < most:
        rest = [head for head in ranked if head not in chosen]
        if not rest:
            break
        gained, head = max((likelihood(spoken, [*chosen, head]), head) for head in rest)
        if gained - reached < GAIN:
            break
        chosen, reached = [*chosen, head], gained
    return chosen


def speak_all(model: TTSModel, voice: VoiceState, sentences: Iterable[str]) -> list[Speech]:
    items = (item for line in sentences for item in model.prompts(line, words=True))
    prompts = (item for item in items if isinstance(item, Prompt) and item.words)
    return [speak(model, voice, prompt) for prompt in prompts]


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--model", help="a folder (default: the embedded voice)")
    parser.add_argument("--language", help="one of Kyutai's models")
    parser.add_argument("--voice", help="who speaks (default: the model's voice)")
    parser.add_argument("--sentences", type=Path, help="a line each (default: some in English)")
    parser.add_argument("--most", type=int, default=MOST, help="heads to name")
    args = parser.parse_args()
    model = open_with_all_heads(args.model, args.language)
    if args.sentences is None and language_of(model.source) != "en":
        raise ConfigError("Give sentences in the model's language: --sentences FILE, a line each.")
    lines = SENTENCES if args.sentences is None else read_lines(args.sentences)
    voice = model.get_state_for_audio_prompt(args.voice or model.default_voice())
    spoken = speak_all(model, voice, lines)
    names, found = all_heads(model.config), find_heads(spoken, args.most)
    for head in found:
        print(f"layer {names[head][0]}, head {names[head][1]}: {likelihood(spoken, [head]):.3f}")
    print(f"together: {likelihood(spoken, found):.3f} (log likelihood by frame, 0 is the best)")
    print(json.dumps({"alignment_heads": [list(names[head]) for head in found]}))


if __name__ == "__main__":
    run_command(main)
