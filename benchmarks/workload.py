"""A model folder that every engine can run: same weights, same voice, same text.

    config.yaml  model.safetensors  tokenizer.json  voices/bench.safetensors   (ours, pocket-tts)
    ptts/{config.json, model.safetensors, tokenizer.json, voices/bench.safetensors}
    exports/PRECISION/                                                         (LiteRT)

The weights are random and of published size: speed does not depend on their values. Random weights
would end a text anywhere, so the EOS threshold is out of reach, and every engine speaks until the
text's limit of ⌈(tokens / 3 + 2) · 12.5⌉ frames.

A folder is kept for the next run unless its sources have changed: see `sources`.

`python -m benchmarks.workload --out FOLDER [--config NAME] [--precision int8 …]` makes one.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import yaml
from safetensors.numpy import save_file

from benchmarks.engines import NEVER_ENDS, VOICE
from benchmarks.sources import made_by
from benchmarks.texts import TEXT
from benchmarks.tokenizer import write_tokenizer
from pocket_tts_jax.config import Config, load_config, packaged_config
from pocket_tts_jax.text.prepare import Prompt, TextRules, make_prompt, split_text
from pocket_tts_jax.text.tokenizer import load_tokenizer

FULL_SIZE = "english_2026-10"
QUICK_SIZE = "tiny"  # not a published size: a few thousand parameters, to check that all works
VOICE_FRAMES = 60  # 4.8 s of recording
LOUDNESS = np.float32(0.2)
# `ptts` refuses weights that it does not use. Its voices already include the effect of the first
# two, and it expects an encoder of another width.
_UNKNOWN_TO_PTTS = (
    "flow_lm.bos_before_voice",
    "flow_lm.speaker_proj_weight",
    "mimi.encoder",
    "mimi.downsample",
)


@dataclass(frozen=True)
class Workload:
    """A folder made by `make_workload`."""

    path: Path

    @property
    def config(self) -> Config:
        return load_config(self.path / "config.yaml")

    @property
    def voice(self) -> Path:
        return self.path / "voices" / f"{VOICE}.safetensors"

    @property
    def ptts(self) -> Path:
        return self.path / "ptts"

    def export(self, precision: str) -> Path:
        return self.path / "exports" / precision

    @property
    def environment(self) -> dict[str, str]:
        """The environment of processes that run it: their caches are in the folder, and byte code
        is kept, as where a package is installed."""
        environment = os.environ | {"XDG_CACHE_HOME": str(self.path / "cache")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return environment

    @property
    def mark(self) -> Path:
        """The file with the hash of the folder's sources; it is written last."""
        return self.ptts / "done"

    def prompts(self, text: str) -> list[Prompt]:
        """The prompts of `text` for this package's engines."""
        config = self.config
        table, rules = config.flow_lm.lookup_table, TextRules.from_config(config)
        tokenizer = load_tokenizer(table.tokenizer, self.path / "tokenizer.json", table.n_bins)
        chunks = split_text(text, tokenizer, rules)
        return [make_prompt(chunk, tokenizer, rules) for chunk in chunks]

    def expected_frames(self, text: str) -> int:
        """Frames that every engine speaks for `text`."""
        return sum(prompt.max_frames for prompt in self.prompts(text))

    def tokens(self, text: str) -> int:
        """Tokens of `text`, including the mark at its beginning."""
        return sum(len(prompt.ids) for prompt in self.prompts(text))


class ExportRefused(Exception):
    """The exporter's gate refused an export: it differs too much from its model."""


def default_folder(size: str) -> Path:
    """Where workloads are kept between runs."""
    return platformdirs.user_cache_path("pocket-tts-jax") / "benchmarks" / size


def make_workload(folder: Path, name: str = FULL_SIZE) -> Workload:
    """Make the folder, or keep it if its sources have not changed."""
    workload, key = Workload(folder.resolve()), made_by(name)
    if workload.mark.is_file():
        if workload.mark.read_text(encoding="utf-8") == key:
            return workload
        _empty(workload)
    workload.path.mkdir(parents=True, exist_ok=True)
    config = _write_config(workload, name)
    write_tokenizer(workload.path / "tokenizer.json", config.flow_lm.lookup_table.n_bins)
    from pocket_tts_jax.testing.random_checkpoint import (
        random_tensors,  # with sensible scales for every tensor
    )

    tensors = _quiet(random_tensors(config))
    save_file(tensors, workload.path / "model.safetensors")
    embeddings = _write_voice(workload, config, tensors)
    _write_ptts(workload, config, tensors, embeddings)
    workload.mark.write_text(key, encoding="utf-8")
    return workload


def _empty(workload: Workload) -> None:
    """Remove the files that the next making does not overwrite. The mark is removed last, so that
    an interrupted removal is repeated."""
    for folder in (workload.path / "exports", workload.path / "cache"):
        if folder.exists():
            shutil.rmtree(folder)
    workload.mark.unlink()


def make_export(workload: Workload, precision: str) -> Path:
    """The LiteRT export of that precision, made by the exporter in a process of its own.

    The precision may end in "+decoder": then the decoder has 8 bits too (`--decoder int8`).

    Raises ExportRefused if its gate refuses the weights, and RuntimeError for any other failure.
    """
    target = workload.export(precision)
    if not target.exists():
        command = [sys.executable, "-m", "exporters.tflite", "--model", str(workload.path)]
        weights, plus, _ = precision.partition("+")
        command += ["--out", str(target), "--precision", weights]
        command += ["--decoder", "int8"] if plus else []
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        _judge(precision, subprocess.run(command, capture_output=True, text=True, env=environment))
    return target


def _judge(precision: str, done: "subprocess.CompletedProcess[str]") -> None:
    """Raise the error of an exporter that failed. Failed checks and errors both exit with 1."""
    if done.returncode == 0:
        return
    errors = [line for line in done.stderr.splitlines() if line.strip()]
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    if done.returncode == 1 and failed and not any(e.startswith("error:") for e in errors):
        raise ExportRefused(f"{precision}: the exporter's gate refused these weights: {failed[0]}")
    raise RuntimeError(
        f"the {precision} export was not made: the exporter ended with code {done.returncode}, "
        f"its last words: {errors[-1] if errors else 'none'}"
    )


def _quiet(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scale the output down: random weights are loud, and the gate refuses exports that clip."""
    last = max(
        int(name.split(".")[3]) for name in tensors if name.startswith("mimi.decoder.model.")
    )
    names = [f"mimi.decoder.model.{last}.conv.{leaf}" for leaf in ("weight", "bias")]
    return tensors | {name: LOUDNESS * tensors[name] for name in names}


def _write_config(workload: Workload, name: str) -> Config:
    """Write the configuration with local paths, from which the reference reads its weights."""
    raw = _raw_config(name)
    raw.pop("weights_path_without_voice_cloning", None)
    raw["weights_path"] = str(workload.path / "model.safetensors")
    raw["flow_lm"]["lookup_table"] |= {
        "tokenizer": "tokenizers",
        "tokenizer_path": str(workload.path / "tokenizer.json"),
    }
    path = workload.path / "config.yaml"
    text = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def _raw_config(name: str) -> dict[str, Any]:
    if name != QUICK_SIZE:
        return yaml.safe_load(packaged_config(name).read_text(encoding="utf-8"))
    from pocket_tts_jax.testing.tiny_model import tiny_config

    def present(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: present(v) for k, v in value.items() if v is not None}
        return value

    return present(json.loads(json.dumps(dataclasses.asdict(tiny_config()))))


def _write_voice(workload: Workload, config: Config, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """The voice's attention cache for us and the reference; returns its embeddings, [t, d]."""
    from pocket_tts_jax.jax_engine.engine import JaxEngine
    from pocket_tts_jax.voice.state import write_voice

    rng = np.random.default_rng(1)
    latents = rng.standard_normal((VOICE_FRAMES, config.mimi.encoded_dim), np.float32)
    engine = JaxEngine(config, tensors)
    workload.voice.parent.mkdir(exist_ok=True)
    write_voice(workload.voice, engine.voice_from_latents(latents))
    embedded = engine.functions.embed_voice(engine.flow_lm_params, latents[None])
    return np.asarray(embedded)[0]


def _write_ptts(
    workload: Workload, config: Config, tensors: dict[str, np.ndarray], embeddings: np.ndarray
) -> None:
    folder = workload.ptts
    (folder / "voices").mkdir(parents=True, exist_ok=True)
    save_file({"emb": embeddings[None]}, folder / "voices" / f"{VOICE}.safetensors")
    kept = {n: t for n, t in tensors.items() if not n.startswith(_UNKNOWN_TO_PTTS)}
    save_file(kept, folder / "model.safetensors")
    shutil.copyfile(workload.path / "tokenizer.json", folder / "tokenizer.json")
    text = json.dumps(ptts_config(config), indent=1)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def ptts_config(config: Config) -> dict[str, Any]:
    """The configuration in the format of `ptts` 0.4."""
    lm, mimi = config.flow_lm.transformer, config.mimi
    seanet, attention = mimi.decoder, mimi.decoder_attention
    table = config.flow_lm.lookup_table
    return {
        "flow_lm": {
            "d_model": lm.d_model,
            "num_heads": lm.num_heads,
            "num_layers": lm.num_layers,
            "dim_feedforward": lm.dim_feedforward or lm.d_model * lm.hidden_scale,
            "max_period": float(lm.max_period),
            "n_bins": table.n_bins,
            "lut_dim": table.dim,
            "flow_dim": config.flow_lm.flow.dim,
            "flow_depth": config.flow_lm.flow.depth,
            "ldim": config.latent_dim,
        },
        "mimi": {
            "channels": mimi.channels,
            "sample_rate": mimi.sample_rate,
            "frame_rate": mimi.frame_rate,
            "dimension": seanet.dimension,
            "quantizer_dimension": mimi.quantizer.dimension,
            "quantizer_output_dimension": mimi.quantizer.output_dimension,
            "n_filters": seanet.n_filters,
            "n_residual_layers": seanet.n_residual_layers,
            "ratios": list(seanet.ratios),
            "kernel_size": seanet.kernel_size,
            "last_kernel_size": seanet.last_kernel_size,
            "residual_kernel_size": seanet.residual_kernel_size,
            "dilation_base": seanet.dilation_base,
            "compress": seanet.compress,
            "transformer_d_model": attention.d_model,
            "transformer_num_heads": attention.num_heads,
            "transformer_num_layers": attention.num_layers,
            "transformer_layer_scale": attention.layer_scale,
            "transformer_context": attention.context,
            "transformer_max_period": attention.max_period,
            "transformer_dim_feedforward": attention.dim_feedforward,
            "downsample_channel_wise": False,
        },
        "temp": config.default_temperature,
        "lsd_decode_steps": 1,
        "eos_threshold": NEVER_ENDS,
        "fuser": {"sum": [], "streaming_sum": [], "prepend": [], "cross": []},
        "conditioners": [],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the folder that the benchmarks run on.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--config", default=FULL_SIZE, help="a packaged configuration")
    parser.add_argument("--precision", nargs="*", default=[], help="LiteRT exports to make")
    arguments = parser.parse_args()
    workload = make_workload(arguments.out, arguments.config)
    for precision in arguments.precision:
        make_export(workload, precision)
    tokens, frames = workload.tokens(TEXT), workload.expected_frames(TEXT)
    print(f"{workload.path}: {tokens} tokens, {frames} frames for {TEXT!r}")


if __name__ == "__main__":
    main()
