"""Writes an EPUB 3 book with speech: each word is highlighted while it is heard (media
overlays)."""

import uuid
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pocket_tts_jax.audio.write import open_writer
from pocket_tts_jax.book.contents import HEADING, Book, Chapter
from pocket_tts_jax.book.recording import Recording
from pocket_tts_jax.captions.cues import written_words
from pocket_tts_jax.files.atomic import atomic_file

_XHTML, _EPUB = "http://www.w3.org/1999/xhtml", "http://www.idpf.org/2007/ops"
_OPF, _DC = "http://www.idpf.org/2007/opf", "http://purl.org/dc/elements/1.1/"
_SMIL, _CONTAINER = "http://www.w3.org/ns/SMIL", "urn:oasis:names:tc:opendocument:xmlns:container"
_ACTIVE = "-epub-media-overlay-active"
_STYLE = f""".{_ACTIVE} {{ background-color: #ffe08a; color: #000; border-radius: 0.2em; }}
body {{ line-height: 1.5; }}
"""


def write_epub(path: Path, book: Book, recordings: Sequence[Recording]) -> None:
    """Write the book with its speech, one audio file (MP3) per chapter."""
    names = [f"chapter-{number:03}" for number in range(1, len(book.chapters) + 1)]
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        # Readers recognise the format by these first bytes, which must not be compressed.
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", _container())
        archive.writestr("EPUB/style.css", _STYLE)
        archive.writestr("EPUB/nav.xhtml", _navigation(book, names))
        for name, chapter, recording in zip(names, book.chapters, recordings, strict=True):
            archive.writestr(f"EPUB/{name}.xhtml", _page(book, chapter, recording))
            archive.writestr(f"EPUB/{name}.smil", _overlay(name, recording))
            _add_audio(archive, f"EPUB/{name}.mp3", recording)
        archive.writestr("EPUB/package.opf", _package(book, names, recordings))


def _add_audio(archive: zipfile.ZipFile, name: str, recording: Recording) -> None:
    with TemporaryDirectory() as folder:
        audio = Path(folder) / "chapter.mp3"
        with open_writer(audio, recording.sample_rate, format="mp3") as writer:
            for samples in recording.audio():
                writer.write(samples)
        archive.write(audio, name, zipfile.ZIP_STORED)


def _xml(root: Any, doctype: str | None = None) -> bytes:
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

    return etree.tostring(root, xml_declaration=True, encoding="utf-8", doctype=doctype)


def _element(namespace: str, name: str, parent: Any = None, text: str = "", **about: str) -> Any:
    """An element of `namespace`; in the names of attributes `__` stands for a colon, `_` for -."""
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

    names = {None: namespace} | ({"epub": _EPUB} if namespace in (_XHTML, _SMIL) else {})
    names |= {"dc": _DC} if namespace == _OPF else {}
    attributes = {
        f"{{{_EPUB}}}{key[6:]}" if key.startswith("epub__") else key.replace("_", "-"): value
        for key, value in about.items()
    }
    tag = f"{{{namespace}}}{name}"
    if parent is None:
        element = etree.Element(tag, attributes, nsmap=names)
    else:
        element = etree.SubElement(parent, tag, attributes)
    element.text = text or None
    return element


def _container() -> bytes:
    root = _element(_CONTAINER, "container", version="1.0")
    files = _element(_CONTAINER, "rootfiles", root)
    kind = {"full_path": "EPUB/package.opf", "media_type": "application/oebps-package+xml"}
    _element(_CONTAINER, "rootfile", files, **kind)
    return _xml(root)


def _html(book: Book, title: str) -> tuple[Any, Any]:
    """A page and its body."""
    root = _element(_XHTML, "html", lang=book.language)
    root.set("{http://www.w3.org/XML/1998/namespace}lang", book.language)
    head = _element(_XHTML, "head", root)
    _element(_XHTML, "title", head, title)
    _element(_XHTML, "link", head, rel="stylesheet", type="text/css", href="style.css")
    return root, _element(_XHTML, "body", root)


def _navigation(book: Book, names: Sequence[str]) -> bytes:
    root, body = _html(book, book.title)
    nav = _element(_XHTML, "nav", body, epub__type="toc", id="toc")
    _element(_XHTML, "h1", nav, book.title)
    entries = _element(_XHTML, "ol", nav)
    for name, chapter in zip(names, book.chapters, strict=True):
        entry = _element(_XHTML, "li", entries)
        _element(_XHTML, "a", entry, chapter.title, href=f"{name}.xhtml")
    return _xml(root, "<!DOCTYPE html>")


def _page(book: Book, chapter: Chapter, recording: Recording) -> bytes:
    """The text of a chapter, each spoken word in an element with an id."""
    root, body = _html(book, chapter.title)
    number = 0
    for i, (block, spoken) in enumerate(zip(chapter.blocks, recording.blocks, strict=True)):
        name = "p" if block.kind != HEADING else "h1" if i == 0 else "h2"
        if not spoken.words:
            _element(_XHTML, name, body, block.text, id=f"b{i}")
            continue
        element = _element(_XHTML, name, body, id=f"b{i}")
        for written in written_words(block.text, spoken.words):
            span = _element(_XHTML, "span", element, written.text, id=f"w{number}")
            span.tail = " "
            number += 1
    return _xml(root, "<!DOCTYPE html>")


def _overlay(name: str, recording: Recording) -> bytes:
    """The stretch of audio for each word. The stretches are contiguous, so that players do not stop
    between words."""
    root = _element(_SMIL, "smil", version="3.0")
    body = _element(_SMIL, "body", root)
    sequences: dict[int, Any] = {}
    for number, (block, start, end) in enumerate(_clips(recording)):
        if block not in sequences:
            textref = {"epub__textref": f"{name}.xhtml#b{block}", "id": f"s{block}"}
            sequences[block] = _element(_SMIL, "seq", body, **textref)
        par = _element(_SMIL, "par", sequences[block], id=f"p{number}")
        _element(_SMIL, "text", par, src=f"{name}.xhtml#w{number}")
        clip = {"clipBegin": f"{start:.3f}s", "clipEnd": f"{end:.3f}s"}
        _element(_SMIL, "audio", par, src=f"{name}.mp3", **clip)
    return _xml(root)


def _clips(recording: Recording) -> Iterator[tuple[int, float, float]]:
    words = recording.words()
    for i, (block, word) in enumerate(words):
        start = word.start if i else 0.0
        end = words[i + 1][1].start if i + 1 < len(words) else recording.seconds
        yield block, start, max(end, start + 0.001)


def _package(book: Book, names: Sequence[str], recordings: Sequence[Recording]) -> bytes:
    root = _element(_OPF, "package", version="3.0", unique_identifier="id")
    root.set("{http://www.w3.org/XML/1998/namespace}lang", book.language)
    about = _element(_OPF, "metadata", root)
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{book.title}\n{book.author}\n{len(names)}")
    _element(_DC, "identifier", about, f"urn:uuid:{identity}", id="id")
    _element(_DC, "title", about, book.title)
    _element(_DC, "language", about, book.language)
    if book.author:
        _element(_DC, "creator", about, book.author)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _element(_OPF, "meta", about, now, property="dcterms:modified")
    _element(_OPF, "meta", about, _ACTIVE, property="media:active-class")
    total = sum(recording.seconds for recording in recordings)
    _element(_OPF, "meta", about, f"{total:.3f}s", property="media:duration")
    for name, recording in zip(names, recordings, strict=True):
        duration = {"property": "media:duration", "refines": f"#{name}-overlay"}
        _element(_OPF, "meta", about, f"{recording.seconds:.3f}s", **duration)
    manifest, spine = _element(_OPF, "manifest", root), _element(_OPF, "spine", root)

    def add(id: str, file: str, kind: str, **more: str) -> None:
        _element(_OPF, "item", manifest, id=id, href=file, media_type=kind, **more)

    page = "application/xhtml+xml"
    add("nav", "nav.xhtml", page, properties="nav")
    add("style", "style.css", "text/css")
    for name, recording in zip(names, recordings, strict=True):
        heard = any(block.words for block in recording.blocks)
        add(name, f"{name}.xhtml", page, **({"media_overlay": f"{name}-overlay"} if heard else {}))
        add(f"{name}-overlay", f"{name}.smil", "application/smil+xml")
        add(f"{name}-audio", f"{name}.mp3", "audio/mpeg")
        _element(_OPF, "itemref", spine, idref=name)
    return _xml(root)
