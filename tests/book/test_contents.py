"""Books in: chapters and blocks of text, Markdown and EPUB files."""

import zipfile

import pytest

from pocket_tts_jax.book.contents import HEADING, read_book
from pocket_tts_jax.errors import ConfigError, TextError

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
    '<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles>'
    "</container>"
)
PACKAGE = (
    '<package xmlns="http://www.idpf.org/2007/opf" version="2.0">'
    '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A  Tale</dc:title>'
    "<dc:creator>Ann Author</dc:creator><dc:language>en-GB</dc:language></metadata><manifest>"
    '<item id="a" href="text/a%20b.xhtml" media-type="application/xhtml+xml"/>'
    '<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
    '<item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest>'
    '<spine><itemref idref="n"/><itemref idref="a"/><itemref idref="c" linear="no"/></spine>'
    "</package>"
)
PAGE = (
    "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>no</title></head><body>"
    "<h1>Chapter <em>One</em></h1><div>Loose text <p>It was&nbsp;<b>dark</b>,\n and "
    "caf&eacute; &amp; tea.<br/>New line</p> tail</div><script>no()</script><p> </p>"
    "<ul><li>First</li><li>Second</li></ul></body></html>"
)


def write_epub(path, **more):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("OPS/book.opf", PACKAGE)
        archive.writestr("OPS/nav.xhtml", PAGE)
        archive.writestr("OPS/text/a b.xhtml", PAGE)
        for name, text in more.items():
            archive.writestr(name, text)
    return path


def test_epub(tmp_path):
    book = read_book(write_epub(tmp_path / "a.epub"))
    assert (book.title, book.author, book.language) == ("A Tale", "Ann Author", "en-GB")
    (chapter,) = book.chapters  # neither the table of contents nor what is not in the reading order
    assert chapter.title == "Chapter One"
    assert [block.text for block in chapter.blocks] == [
        "Chapter One",
        "Loose text",
        "It was dark, and café & tea. New line",
        "tail",
        "First",
        "Second",
    ]
    assert [block.kind == HEADING for block in chapter.blocks].count(True) == 1


def test_a_protected_epub_is_refused(tmp_path):
    encryption = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        '<EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#"><CipherData>'
        '<CipherReference URI="OPS/text/a%20b.xhtml"/></CipherData></EncryptedData></encryption>'
    )
    path = write_epub(tmp_path / "a.epub", **{"META-INF/encryption.xml": encryption})
    with pytest.raises(ConfigError, match="copy-protected"):
        read_book(path)


def test_an_epub_reads_no_other_files(tmp_path):
    """An entity that names a file of this machine stays unread."""
    secret = tmp_path / "secret"
    secret.write_text("password")
    page = f'<!DOCTYPE html [<!ENTITY s SYSTEM "file://{secret}">]>' + PAGE.replace("First", "&s;")
    path = tmp_path / "a.epub"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("OPS/book.opf", PACKAGE)
        archive.writestr("OPS/text/a b.xhtml", page)
    texts = [block.text for chapter in read_book(path).chapters for block in chapter.blocks]
    assert "Second" in texts and not any("password" in text for text in texts)


def test_text(tmp_path):
    path = tmp_path / "moby.txt"
    path.write_text(
        "Moby Dick\n\nCHAPTER 1. Loomings\n\nCall me\nIshmael.\n\n\nChapter II\n\nMore."
    )
    book = read_book(path)
    assert [chapter.title for chapter in book.chapters] == [
        "moby",
        "CHAPTER 1. Loomings",
        "Chapter II",
    ]
    assert [block.text for block in book.chapters[1].blocks] == [
        "CHAPTER 1. Loomings",
        "Call me Ishmael.",
    ]


def test_markdown(tmp_path):
    path = tmp_path / "a.md"
    path.write_text(
        "---\nx: 1\n---\n# Title\n\n## One\nHello *big* [world](http://x.y), `a_b`.\n\n- item one\n"
        "\n```python\ncode\n```\n### Deeper\n\n## Two ##\n\n> Quoted **text**.\n"
    )
    book = read_book(path)
    assert book.title == "Title"
    assert [chapter.title for chapter in book.chapters] == ["Title", "Two"]
    assert [block.text for block in book.chapters[0].blocks] == [
        "Title",
        "One",
        "Hello big world, a_b.",
        "item one",
        "Deeper",
    ]
    assert book.chapters[1].blocks[1].text == "Quoted text."


def test_what_cannot_be_read_says_why(tmp_path):
    for name, data, error, says in (
        ("a.pdf", b"x", ConfigError, "ends in .epub"),
        ("a.epub", b"no zip", ConfigError, "not an EPUB"),
        ("a.txt", b"\n \n", TextError, "no text"),
        ("b.txt", b"\xff\xfe\x00", ConfigError, "not UTF-8"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(error, match=says):
            read_book(tmp_path / name)
    with pytest.raises(ConfigError, match="no book at"):
        read_book(tmp_path / "missing.txt")
