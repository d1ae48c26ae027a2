"""`--check DIR`: checks that a folder is unchanged since it passed the gate."""

from pathlib import Path
from typing import cast

import typer

from exporters.build import DECODER, ENCODER, FLOW_LM, Options, make_parts, open_model
from exporters.convert.quantize import Decoder, Precision
from exporters.gate import report, vectors
from exporters.gate.gate import Check, check_shape, validate
from exporters.graph.fold import flow_lm_weights
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.folder import ExportFolder, open_folder


def check_folder(path: Path, model: str | None) -> list[Check]:
    """Check a folder and return the checks that failed.

    Checks every hash, the operations and signatures of every file, and the recorded test vectors.
    With the `model` that it was made from, the comparison with JAX is repeated too. Raises
    CheckpointError for a damaged folder.
    """
    folder = open_folder(path)
    folder.verify()
    weights = cast(Precision, folder.precision), cast(Decoder, folder.decoder)
    files = (file for file in (FLOW_LM, DECODER, ENCODER) if folder.has(file))
    checks = [c for file in files for c in _check_file(folder, file, *weights)]
    engine = LiteRTEngine(folder, threads=1)
    limit = vectors.tolerance(folder.precisions)
    for name, value in vectors.replay(engine).items():
        checks.append(Check(vectors.FILE, f"{name}: relative", value, limit, value <= limit))
    engine.close()
    if model is not None:
        checks += _compare(folder, model, *weights)
    typer.echo(report.summary(checks))
    return [check for check in checks if not check.passed]


def _check_file(
    folder: ExportFolder, file: str, precision: Precision, decoder: Decoder
) -> list[Check]:
    described = folder.manifest["signatures"][file]
    expected = {
        name: tuple(
            [(t["name"], tuple(t["shape"])) for t in entry[side]] for side in ("inputs", "outputs")
        )
        for name, entry in described.items()
    }
    return check_shape(folder.file(file), expected, precision, decoder)


def _compare(
    folder: ExportFolder, model: str, precision: Precision, decoder: Decoder
) -> list[Check]:
    source = open_model(model)
    if source.config != folder.config:
        raise ConfigError(f"{folder.path} was made from another configuration than {model}.")
    tensors = source.load_tensors()
    options = Options(
        precision=precision,
        decoder=decoder,
        max_frames=folder.capacities[-1],
        with_encoder=folder.has(ENCODER),
        batches=tuple(folder.manifest["batch"]),
    )
    parts = make_parts(flow_lm_weights(tensors, source.config), tensors, source, options)
    for part in parts:
        present = folder.manifest["signatures"][part.file]
        part.signatures[:] = [s for s in part.signatures if s.name in present]
    return validate(folder.path, parts, tensors, source, precision, decoder)
