"""Gated weights, and the open ones that are used if access is refused."""

import hashlib
import logging
from pathlib import Path

from pocket_tts_jax.errors import DownloadError
from pocket_tts_jax.files.cache import cache_folder
from pocket_tts_jax.files.hub import (
    GatedError,
    HubFile,
    Notice,
    cached,
    refusal,
    resolve,
)

_log = logging.getLogger(__name__)


def resolve_with_fallback(
    gated: str | Path,
    fallback: str | Path,
    *,
    what: str,
    offline: bool = False,
    on_notice: Notice = _log.warning,
    cache: Path | None = None,
) -> tuple[Path, bool]:
    """The path of `gated`, or of `fallback` if access to `gated` is refused; True for `gated`.

    Only a refusal (GatedError) leads to `fallback`; `on_notice` then says how to get access. A
    fetched `fallback` is used without asking the network again, until `gated` is in the cache or
    the login changes: without a login, or with one that was refused before, the answer is known.
    Without a connection the cached file is used. Every other error is raised. Refusals are noted in
    `cache`.
    """
    if (found := cached(gated)) is not None:
        return found, True
    here = cached(fallback)
    token = _token()
    note = _note(str(gated), token, cache)
    try:
        if here is not None and (token is None or (note is not None and note.exists())):
            reason = "this machine has no login" if token is None else "as it was before"
            raise GatedError(refusal(str(gated), what, reason))
        return resolve(gated, what=what, offline=offline, on_notice=on_notice), True
    except GatedError as error:
        _remember(note)
        command = ""
        if str(gated).startswith("hf://"):
            command = f" Then fetch it once: `{HubFile.parse(str(gated)).command}`."
        on_notice(f"{error}{command} Until then, {fallback} is used.")
    except DownloadError as error:
        if here is None:
            raise
        on_notice(f"{error} Until then, {fallback}, which is here already, is used.")
    if here is None:
        here = resolve(fallback, what=what, offline=offline, on_notice=on_notice)
    return here, False


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _note(source: str, token: str | None, cache: Path | None) -> Path | None:
    """The file that records a refusal of this source to this login; its name is a hash of both."""
    digest = hashlib.sha256(f"{source}\n{token}".encode()).hexdigest()[:32]
    folder = cache or cache_folder("refused")
    return None if folder is None else folder / digest


def _remember(note: Path | None) -> None:
    if note is None:
        return
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    except OSError as error:
        _log.info("The refusal cannot be noted, so it is asked for again next time: %s", error)
