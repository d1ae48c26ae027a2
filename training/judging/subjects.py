"""What can be judged: a model, one part of it, its teacher, or any engine, each speaking the same
sentences."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from pocket_tts_jax.audio.read import resample
from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.weights.checkpoint import load_checkpoint
from pocket_tts_jax.weights.expected import parameter_shapes
from training.command_line import with_progress
from training.data.spectra import SAMPLE_RATE
from training.data.streams import FrameStream, Utterance, open_streams
from training.data.tokenizer import open_tokenizer
from training.errors import TrainingError
from training.loop.checkpoint import read_ema, read_statistics
from training.loop.initialise import DECODER
from training.loop.published import gather_tensors

if TYPE_CHECKING:
    from pocket_tts_jax.tts_model import TTSModel

Audio = Float[np.ndarray, " samples"]
Recording = tuple[FrameStream, Utterance]


class Spoken(NamedTuple):
    """24 kHz audio of each sentence, and what else is known of it."""

    audios: list[Audio]
    facts: dict[str, float]


def held_out(folder: Path, count: int | None, speaker: str | None = None) -> list[Recording]:
    """The first `count` held-out utterances (all by default) of a speaker, taken from the streams
    in turn; None is the one without a name."""
    by_stream = [
        [(s, u) for u in s.utterances if u.held_out and u.speaker == speaker]
        for s in open_streams(folder)
    ]
    longest = max(map(len, by_stream))
    mixed = [rows[i] for i in range(longest) for rows in by_stream if i < len(rows)]
    if not mixed:
        raise TrainingError(
            f"{folder} holds no sentence out{f' of {speaker}' if speaker else ''}. Make the "
            "sentences with python -m training.data.sentences --held-out N, or judge with --what "
            "engine --list held_out."
        )
    return mixed[:count]


def recorded(rows: list[Recording]) -> Spoken:
    """The recordings themselves."""
    return Spoken([s.audio(u.first, u.frames) for s, u in rows], {})


def through_codec(args: argparse.Namespace, rows: list[Recording]) -> Spoken:
    """The latents of the recordings through the decoder."""
    from training.judging.speak import waveform_decoder

    decode = waveform_decoder(*load_tensors(args))
    return Spoken([decode(np.array(s.latents[u.first : u.first + u.frames])) for s, u in rows], {})


def forced(args: argparse.Namespace, rows: list[Recording]) -> Spoken:
    """FlowLM's prediction of each frame from the true frames before it."""
    from training.judging.forced import forced_latents
    from training.judging.speak import waveform_decoder

    config, tensors = load_tensors(args)
    tokens, statistics = _tokens(args, [u.text for _, u in rows]), read_statistics(args.codec)
    noise, seed = args.history_noise or 0.0, args.seed or 0
    latents = forced_latents(config, tensors, rows, tokens, statistics, noise, seed)
    decode = waveform_decoder(config, tensors)
    return Spoken([decode(x) for x in latents], {})


def by_model(args: argparse.Namespace, texts: list[str], rows: list[Recording]) -> Spoken:
    """The model running freely, many sentences at a time; `rows` are empty where there are no
    recordings of the sentences to compare lengths with."""
    from training.judging.speak import speak_latents, waveform_decoder

    config, tensors = load_tensors(args)
    temperature, seed = args.temperature or 0.0, args.seed or 0
    spoken = speak_latents(
        config, tensors, _tokens(args, texts), temperature, args.eos_threshold, seed=seed
    )
    facts: dict[str, float] = {"eos_failures": sum(not s.ended for s in spoken)}
    if rows:
        ratios = [s.frames / u.speech for s, (_, u) in zip(spoken, rows, strict=True)]
        facts |= {
            "length_ratio": float(np.mean(ratios)),
            "length_ratio_min": float(np.min(ratios)),
            "length_ratio_max": float(np.max(ratios)),
        }
    decode = waveform_decoder(config, tensors)
    return Spoken([decode(s.latents) for s in spoken], facts)


def open_named(name: str | None, engine: str = "auto") -> "TTSModel":
    """What `--model` names: a folder of a model or an export, a weight file, a .yaml, an address
    or a published name. None is the embedded voice."""
    from pocket_tts_jax.tts_model import TTSModel
    from pocket_tts_jax.weights.source import is_published

    if name is not None and is_published(name):
        return TTSModel.load_model(language=name, engine=engine, on_notice=print)
    if name is not None and name.endswith((".yaml", ".yml")):
        return TTSModel.load_model(config=name, engine=engine, on_notice=print)
    return TTSModel.load_model(model=name, engine=engine, on_notice=print)


def by_engine(args: argparse.Namespace, texts: list[str]) -> Spoken:
    """Any model by the package's own engines, one sentence after the other."""
    from pocket_tts_jax.generation.ending import ChunkReport

    model = open_named(args.model, args.engine or "auto")
    print(f"{model.engine.name} engine, {model.engine.precision}")
    voice = model.get_state_for_audio_prompt(args.voice or model.default_voice())
    seed, chunks, audios = args.seed or 0, list[ChunkReport](), []
    for text in with_progress(texts, "spoken"):
        frames = model.generate_audio_stream(voice, text, seed=seed, on_chunk=chunks.append)
        audio = np.concatenate(list(frames))
        audios.append(resample(audio, model.sample_rate, SAMPLE_RATE))
    return Spoken(audios, {"eos_failures": sum(not chunk.eos for chunk in chunks)})


def by_teacher(args: argparse.Namespace, texts: list[str]) -> Spoken:
    """The teacher reading now: `plain` as it was published, else as it reads for training."""
    from training.data.speakers import SPEAKERS
    from training.data.teacher import Teacher, check_tokens

    tokenizer = open_tokenizer(args.tokenizer)
    check_tokens(tokenizer)
    speaker = SPEAKERS[args.speaker] if args.speaker else None
    teacher = Teacher.plain() if args.what == "plain" else Teacher(speaker=speaker)
    lines = with_progress(texts, "spoken")
    audios = [teacher.speak(tokenizer.encode(text, out_type=str))[0] for text in lines]
    return Spoken(audios, {})


def load_tensors(args: argparse.Namespace) -> tuple[Config, dict[str, np.ndarray]]:
    """Of `--model`, or of the parts of an unfinished one."""
    if args.model:
        folder = Path(args.model)
        config = load_config(folder / "config.yaml")
        return config, load_checkpoint(folder / "model.safetensors", parameter_shapes(config))
    config, mimi = load_config(args.config), read_ema(args.mimi)
    if args.what == "codec":
        return config, {f"mimi.{n}": t for n, t in mimi.items() if n.startswith(DECODER)}
    flow_lm, statistics = read_ema(args.flow_lm, args.last), read_statistics(args.codec)
    return config, gather_tensors(config, flow_lm, mimi, *statistics)


def _tokens(args: argparse.Namespace, texts: list[str]) -> list[list[int]]:
    path = args.tokenizer or Path(args.model) / "tokenizer.model"
    tokenizer = open_tokenizer(path)
    return [tokenizer.encode(text) for text in texts]
