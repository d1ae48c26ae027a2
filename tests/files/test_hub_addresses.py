"""What counts as a path, a web address or a file on the Hub, and what as none of them."""

from pathlib import Path

import pytest

from pocket_tts_jax.errors import DownloadError
from pocket_tts_jax.files.hub import HubFile, resolve


def test_local_paths(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("x")
    assert resolve(tmp_path / "a.txt", what="a file") == tmp_path / "a.txt"
    assert resolve(str(tmp_path), what="a folder") == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert resolve("~/a.txt", what="a file") == tmp_path / "a.txt"
    with pytest.raises(DownloadError, match="no file or folder at '.*b.txt' for the weights"):
        resolve(tmp_path / "b.txt", what="the weights")
    with pytest.raises(DownloadError, match="give the weights as text, with hf:// in front"):
        resolve(Path("hf://a/b/c"), what="the weights")


@pytest.mark.parametrize(
    "source", ["ftp://host/file", "s3://bucket/key", "://", "file:///etc/passwd"]
)
def test_other_schemes_are_refused(source):
    with pytest.raises(DownloadError, match="expected a path, an https:// or an hf:// address"):
        resolve(source, what="the weights")


def test_hub_addresses():
    file = HubFile.parse("hf://kyutai/pocket-tts/languages/english/model.safetensors@abc")
    assert file == HubFile("kyutai/pocket-tts", "languages/english/model.safetensors", "abc")
    assert HubFile.parse("hf://a/b/c").revision == "main"
    assert HubFile.parse("hf://a/b/c@refs/pr/1").revision == "refs/pr/1"
    for wrong in ("hf://", "hf://a/b", "hf://a//c", "hf://a/b/", "hf://a/b/../../c"):
        with pytest.raises(DownloadError, match="hf://owner/repository/path"):
            HubFile.parse(wrong)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/a file",
        "http://127.0.0.1:port/file",
        "http://[::1/file",
        "http://127.0.0.1/\udcff",
        "http://127.0.0.1/ä",
    ],
)
def test_what_cannot_be_an_address(tmp_path, address):
    with pytest.raises(DownloadError, match="is not an address that can be fetched .*Check it"):
        resolve(address, what="the weights", cache=tmp_path)
