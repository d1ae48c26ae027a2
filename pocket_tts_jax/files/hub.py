"""Finds files on this machine, at a web address, or on the Hugging Face Hub.

A source is written as

    path/to/file-or-folder
    https://host/path                         (http:// from this machine only)
    hf://owner/repository/path/in/it@revision (revision: commit, tag or branch; main by default)

Web files are cached by address in the user's cache folder, Hub files in the Hub's own cache, which
other programs share. A cached file is used without asking the network, so a branch stays at the
commit of its first download: name a commit to be exact. A cached file whose contents have changed
is removed and fetched again.
"""

import errno
import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pocket_tts_jax.errors import DownloadError, SourceNotFound
from pocket_tts_jax.files.atomic import remove_if_possible
from pocket_tts_jax.files.cache import cache_folder
from pocket_tts_jax.files.verify import damage, is_intact

Notice = Callable[[str], None]

_log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# The Hub's cache names a file by its SHA-256, a small one by Git's SHA-1.
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


class GatedError(DownloadError):
    """The server requires an account that has accepted the terms of the file's repository."""


@dataclass(frozen=True)
class HubFile:
    """`hf://owner/repository/path@revision`, taken apart."""

    repository: str
    path: str
    revision: str

    @classmethod
    def parse(cls, source: str) -> "HubFile":
        location, _, revision = source.removeprefix("hf://").partition("@")
        parts = location.split("/")
        if len(parts) < 3 or not all(parts) or ".." in parts:
            raise DownloadError(
                f"{source!r} is not a file on the Hub: write hf://owner/repository/path, with an "
                "optional @revision at the end."
            )
        return cls("/".join(parts[:2]), "/".join(parts[2:]), revision or "main")

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.repository}"

    @property
    def command(self) -> str:
        """The command that downloads the file to the Hub's cache."""
        revision = "" if self.revision == "main" else f" --revision {self.revision}"
        return f"hf download {self.repository} {self.path}{revision}"

    @property
    def url(self) -> str:
        return f"{self.page}/resolve/{self.revision}/{self.path}"


def is_remote(source: str | Path) -> bool:
    """Whether `source` is an address rather than a path on this machine."""
    return isinstance(source, str) and "://" in source


def resolve(
    source: str | Path,
    *,
    what: str,
    offline: bool = False,
    on_notice: Notice = _log.info,
    cache: Path | None = None,
) -> Path:
    """The local path of `source`, fetched once if it is remote.

    `what` names the file in messages ("the model's weights"). `offline` forbids the network;
    HF_HUB_OFFLINE=1 does so for `hf://` sources. `cache` replaces the folder for web files.
    Raises SourceNotFound when there is no such file; DownloadError when it is neither cached nor
    reachable, or when the disk is full; GatedError when the server wants accepted terms. A failed
    download leaves nothing behind that a later call could take for the file.
    """
    if (found := cached(source, cache=cache)) is not None:
        return found
    if not is_remote(source):
        raise SourceNotFound(_missing_locally(str(source), what))
    source = str(source)
    if source.startswith("hf://"):
        return _from_hub(HubFile.parse(source), what, offline, on_notice)
    return _from_web(source, what, offline, on_notice, _web_cache_path(source, cache))


def cached(source: str | Path, *, cache: Path | None = None) -> Path | None:
    """The local path of `source`, or None if it is not on this machine. Uses no network."""
    if not is_remote(source):
        path = Path(source).expanduser()
        return path if path.exists() else None
    place = _place(str(source), cache)
    return place if place is not None and _is_whole(place, trust_stamp=True) else None


def verify_cached(source: str) -> bool | None:
    """Hash the file of an address that is in a cache: whether it was whole. A damaged one is
    removed. None where there is no such file."""
    place = _place(source, None)
    return None if place is None else _is_whole(place, trust_stamp=False)


def _place(source: str, cache: Path | None) -> Path | None:
    """Where the file of an address is in its cache, if it is there."""
    if source.startswith("hf://"):
        return _in_hub_cache(HubFile.parse(source))
    if not source.startswith(("https://", "http://")):
        raise DownloadError(f"{source!r}: expected a path, an https:// or an hf:// address.")
    place = _web_cache_path(source, cache)
    return place if place.is_file() else None


def _is_whole(place: Path, *, trust_stamp: bool) -> bool:
    """Whether a cached file has the contents it came with; where not, it is removed."""
    digest = place.resolve().name
    if _DIGEST.fullmatch(digest):
        if is_intact(place, digest, trust_stamp=trust_stamp):
            return True
        reason = f"{place} is damaged: its contents are not those on the Hub."
    else:
        reason = damage(place, trust_stamp=trust_stamp)
    if reason is not None:
        _remove_damaged(place, reason)
    return reason is None


def _remove_damaged(path: Path, reason: str) -> None:
    _log.warning("%s It is removed from the cache.", reason)
    for file in {path, path.resolve()}:  # the Hub's cache links to its files
        remove_if_possible(file)


def refusal(source: str, what: str, reason: str) -> str:
    """The error text if the server at `source` refuses access to `what`."""
    page = source
    if source.startswith("hf://"):
        page = HubFile.parse(source).page
    elif "/resolve/" in source:
        page = source.partition("/resolve/")[0]
    return (
        f"Access to {what} at {source} was refused ({reason}). Open {page}, accept the terms, "
        "then log in with `hf auth login` (or set HF_TOKEN)."
    )


def _from_web(url: str, what: str, offline: bool, on_notice: Notice, place: Path) -> Path:
    if offline:
        raise DownloadError(_how_to_get(url, what, "downloads are switched off"))
    from http.client import HTTPException

    from pocket_tts_jax.files.download import download

    on_notice(f"Downloading {what} from {url}")
    try:
        download(url, place)
    except (OSError, ValueError, HTTPException) as error:
        raise _web_error(url, what, place, error) from error
    return place


def _web_error(url: str, what: str, place: Path, error: Exception) -> DownloadError:
    """The error of a failed `download`, for the user."""
    from http.client import HTTPException, InvalidURL

    if isinstance(error, InvalidURL | UnicodeError):
        return _not_an_address(url, error)
    status = getattr(error, "code", None)
    if status in (401, 403):
        return GatedError(refusal(url, what, f"the server answered {status}"))
    if status in (404, 410):
        return SourceNotFound(f"There is nothing at {url}: check the address of {what}.")
    if _disk_full(error):
        return DownloadError(
            f"The disk is full: there is no room for {what} in {place.parent}. Free some space "
            "and run this again; nothing of the file was kept."
        )
    reason = str(getattr(error, "reason", error))
    if isinstance(error, HTTPException):
        reason = f"what answers there is no web server: {error!r}"
    return DownloadError(_how_to_get(url, what, reason))


def _not_an_address(url: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"{url!r} is not an address that can be fetched ({error}). Check it; a space in it is "
        "written as %20."
    )


def _disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _in_hub_cache(file: HubFile) -> Path | None:
    # The Hub's documented cache layout, read here because huggingface_hub's own function for it
    # loads its whole network client, which is most of a warm start.
    from huggingface_hub import constants

    repository = Path(constants.HF_HUB_CACHE, "models--" + file.repository.replace("/", "--"))
    commit = file.revision
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (repository / "refs" / file.revision).read_text().strip()
        except OSError:
            return None
    path = repository / "snapshots" / commit / file.path
    return path if path.is_file() else None


def _from_hub(file: HubFile, what: str, offline: bool, on_notice: Notice) -> Path:
    from huggingface_hub import constants

    if offline or constants.HF_HUB_OFFLINE:
        raise DownloadError(_how_to_get(file.url, what, "downloads are switched off", file))
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    on_notice(f"Downloading {what} from {file.url}")
    try:
        # Ask once: the download itself retries for half a minute before it fails.
        get_hf_file_metadata(hf_hub_url(file.repository, file.path, revision=file.revision))
        hf_hub_download(file.repository, file.path, revision=file.revision)
    except Exception as error:
        # Every kind of error, because they depend on the HTTP client of the installed
        # huggingface_hub (requests, httpx, its own), and the user needs the same help.
        raise _hub_error(file, what, error) from error
    path = _in_hub_cache(file)
    if path is None or not _is_whole(path, trust_stamp=True):
        raise DownloadError(_how_to_get(file.url, what, "it arrived damaged", file))
    return path


def _hub_error(file: HubFile, what: str, error: Exception) -> DownloadError:
    """The error of a failed `hf_hub_download`, for the user."""
    causes = _causes(error)
    status = next((s for s in map(_status, causes) if s is not None), None)
    if status in (401, 403):
        return GatedError(refusal(file.url, what, f"the server answered {status}"))
    if any(map(_disk_full, causes)):
        return DownloadError(
            f"The disk is full: there is no room for {what} in the Hub's cache. Free some space, "
            "or point HF_HOME at a bigger disk, and run this again."
        )
    if status == 404:
        return SourceNotFound(
            f"There is no {file.path!r} at revision {file.revision!r} of {file.page}. Check the "
            f"address of {what}."
        )
    reason = str(causes[-1]).strip() or type(causes[-1]).__name__
    return DownloadError(_how_to_get(file.url, what, reason, file))


def _causes(error: BaseException | None) -> list[BaseException]:
    """`error` and its causes, outermost first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    return chain


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _web_cache_path(url: str, cache: Path | None) -> Path:
    try:
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        name = Path(unquote(urlsplit(url).path)).name or "file"
    except ValueError as error:
        raise _not_an_address(url, error) from error
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:].lstrip(".") or "file"
    folder = cache or cache_folder("downloads")
    if folder is None:
        raise DownloadError(
            f"There is no home folder to keep {url} in: download it, and give the path of the file."
        )
    return folder / digest / name


def _how_to_get(url: str, what: str, reason: str, file: HubFile | None = None) -> str:
    text = (
        f"{what[:1].upper()}{what[1:]}: not on this machine, and {url} cannot be fetched "
        f"({reason}). Connect once to the network and run this again, or fetch that address on "
        "another machine and give the path of the copy instead."
    )
    if file is not None:
        text += f" `{file.command}` puts it where it is looked for."
    return text


def _missing_locally(source: str, what: str) -> str:
    slip = re.match(r"(https?|hf):/[^/]", source)
    if slip:
        return (
            f"{source!r} looks like an address that was turned into a path: give {what} as text, "
            f"with {slip[1]}:// in front."
        )
    return (
        f"There is no file or folder at {source!r} for {what}. Check the path (it is read from "
        f"{Path.cwd()}), or give an https:// or hf:// address."
    )
