"""Export trained tensors as a model folder in the published format.

    python -m training.export --config voice.yaml --flow-lm run/flow_lm.safetensors \\
        --mimi run/mimi.safetensors --codec mel_codec.safetensors \\
        --tokenizer tokenizer.model --voice joe --out folder/ --half

The folder holds `config.yaml`, `model.safetensors`, `tokenizer.model`, `voice.json` and
`voices/NAME.safetensors` (the attention cache of the start token, and for each other speaker that
of the vector which leads it). The reference loads it too, with paths made absolute in the config.
The Mimi encoder is there because the format demands it, trained or not; a model that learned a few
voices offers no cloning.
"""

import shutil
from pathlib import Path

from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.files.verify import sums_of, write_sums
from pocket_tts_jax.voice.state import write_voice
from pocket_tts_jax.weights.expected import under
from pocket_tts_jax.weights.settings import ModelSettings
from training.command_line import command_parser, run_command
from training.loop.checkpoint import read_ema, read_statistics
from training.loop.initialise import VOICES
from training.loop.published import (
    as_stored,
    gather_tensors,
    start_voice,
    write_about,
    write_model,
)
from training.losses.flow_lm import LMObjective


def settings_of(config: Config, voice: str) -> ModelSettings:
    """Settings of a model trained here. Its tokenizer knows no digits, a chunk of 100 tokens is as
    long as training rows are, and the heads that `training.flow_lm` guides follow the text."""
    guided, layers = LMObjective(), config.flow_lm.transformer.num_layers
    heads = range(min(guided.align_heads, config.flow_lm.transformer.num_heads))
    return ModelSettings(
        max_tokens=100,
        default_voice=voice,
        has_voice_cloning=False,
        normalize=True,
        alignment_heads=[[n, head] for n in guided.align_layers if n < layers for head in heads],
    )


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="configuration of the model")
    parser.add_argument("--flow-lm", type=Path, required=True, help="run of training.flow_lm")
    parser.add_argument("--mimi", type=Path, required=True, help="run of training.codec")
    parser.add_argument("--codec", type=Path, required=True, help="what defined the latents")
    parser.add_argument("--tokenizer", type=Path, required=True, help="the model's tokenizer")
    parser.add_argument("--voice", default="joe", help="who has no name in the frames")
    parser.add_argument("--out", type=Path, required=True, help="new model folder")
    parser.add_argument("--last", action="store_true", help="last tensors instead of averages")
    parser.add_argument("--half", action="store_true", help="store matrices as float16")
    parser.add_argument("--encoder", type=Path, help="run of training.codec --part encoder")
    args = parser.parse_args()
    config, statistics = load_config(args.config), read_statistics(args.codec)
    flow_lm, mimi = (read_ema(path, args.last) for path in (args.flow_lm, args.mimi))
    if args.encoder:
        mimi |= read_ema(args.encoder, args.last)
    tensors = gather_tensors(config, flow_lm, mimi, *statistics)
    (args.out / "voices").mkdir(parents=True, exist_ok=True)
    write_model(args.out / "model.safetensors", tensors, args.half)
    shutil.copyfile(args.config, args.out / "config.yaml")
    shutil.copyfile(args.tokenizer, args.out / "tokenizer.model")
    stored = as_stored(tensors, args.half)
    for name, start in {args.voice: None, **under(flow_lm, VOICES)}.items():
        about = {"source": "start vector" if name != args.voice else "start token only"}
        voice = start_voice(config, stored, about | {"licence": "CC0-1.0"}, start)
        write_voice(args.out / "voices" / f"{name}.safetensors", voice)
    write_about(args.out, settings_of(config, args.voice))
    write_sums(args.out, sums_of(args.out))
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(main)
