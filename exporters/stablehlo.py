"""Export the same functions as StableHLO: `python -m exporters.stablehlo --model M --out DIR`.

Each file is a `jax.export` artefact of one signature, including its weights. It needs JAX to run,
but not this package:

    from jax import export
    step = export.deserialize(open("flow_lm/decode_1_c256.stablehlo", "rb").read())
    results = step.call(*inputs)      # order and names are in signatures.json
"""

import json
import secrets
import shutil
import sys
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import typer
from jax import export as jax_export

from exporters.build import MAX_FRAMES, Options, make_parts, open_model
from exporters.gate.difference import Difference
from exporters.gate.gate import FP32_RELATIVE
from exporters.graph.fold import flow_lm_weights
from exporters.graph.signature import Signature
from exporters.manifest import describe_signature
from pocket_tts_jax.errors import CheckpointError, ConfigError, TTSError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[
        str | None, typer.Option(help="A name (english), or a folder with weights.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to make.")] = Path("stablehlo"),
    max_frames: Annotated[
        int, typer.Option(help="Positions of the cache: voice + text + spoken frames.")
    ] = MAX_FRAMES,
    with_encoder: Annotated[bool, typer.Option(help="Also export voice cloning.")] = False,
) -> None:
    """Write one artefact for each signature."""
    try:
        export(model, out, Options("fp32", max_frames, with_encoder=with_encoder))
    except TTSError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


def export(model: str | None, out: Path, options: Options) -> None:
    """Make the folder `out`. After an error there is no folder."""
    if out.exists():
        raise ConfigError(f"{out} exists. Choose another folder, or remove it first.")
    source = open_model(model, options.with_encoder)
    tensors = source.load_tensors()
    flow_lm = flow_lm_weights(tensors, source.config)
    parts = make_parts(flow_lm, tensors, source, options)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        described = {}
        for part in parts:
            folder = aside / Path(part.file).stem
            folder.mkdir(parents=True)
            for signature in part.signatures:
                _write(signature, folder / f"{signature.name}.stablehlo")
            described[folder.name] = {s.name: describe_signature(s) for s in part.signatures}
        (aside / "signatures.json").write_text(json.dumps(described, indent=1) + "\n")
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(signature: Signature, path: Path) -> None:
    """Serialise one signature, read it back, and compare the results of both."""
    exported = jax_export.export(jax.jit(signature.bound(), keep_unused=True))
    path.write_bytes(exported(*signature.example()).serialize())
    loaded = jax_export.deserialize(bytearray(path.read_bytes()))
    rng = np.random.default_rng(0)
    inputs = [
        rng.integers(0, 2, t.shape).astype(np.int32)
        if t.dtype == "int32"
        else rng.standard_normal(t.shape).astype(np.float32)
        for t in signature.inputs
    ]
    expected, found = signature.compiled(*inputs), loaded.call(*inputs)
    for tensor, a, b in zip(signature.outputs, expected, found, strict=True):
        difference = Difference()
        difference.add(np.asarray(a), np.asarray(b))
        if difference.relative > FP32_RELATIVE:
            raise CheckpointError(
                f"{path.name}: {tensor.name} differs by {difference.relative:.2g} after reading "
                f"the artefact back, the limit is {FP32_RELATIVE}. Report this with the version of "
                "JAX."
            )


if __name__ == "__main__":
    app()
