"""Reads a book from a text, Markdown or EPUB file, as chapters of blocks."""

import posixpath
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pocket_tts_jax.errors import ConfigError, TextError

HEADING, PARAGRAPH = "heading", "paragraph"
KINDS = (".epub", ".md", ".markdown", ".txt")
_LARGEST_DOCUMENT = 50_000_000  # bytes of one file in an EPUB: real ones are smaller

_CHAPTER = re.compile(
    r"(?:(?:chapter|kapitel|chapitre|capitolo|capítulo|hoofdstuk|part|book)\s+[\divxlc]+\b.{0,60}"
    r"|prologue|epilogue|preface|introduction|appendix|[ivxlc]{1,7}\.?)",
    re.IGNORECASE,
)
_MARKDOWN_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_MARKDOWN = [
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)([*_])(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"`([^`]*)`"), r"\1"),
    (re.compile(r"^\s*(?:[-*+]|\d+[.)]|>)\s+", re.MULTILINE), ""),
]


@dataclass(frozen=True)
class Block:
    """A heading or a paragraph, with single spaces."""

    kind: str
    text: str


@dataclass(frozen=True)
class Chapter:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Book:
    title: str
    author: str | None
    language: str
    chapters: tuple[Chapter, ...]


def read_book(path: Path) -> Book:
    """The book in an .epub, .md or .txt file (UTF-8).

    Raises ConfigError for other files and damaged ones, and TextError for a book without text.
    """
    reader = {".epub": _read_epub, ".md": _read_markdown, ".markdown": _read_markdown}
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ConfigError(f"{path}: a book is a file that ends in {', '.join(KINDS)}.")
    try:
        book = reader.get(kind, _read_plain)(path)
    except FileNotFoundError:
        raise ConfigError(f"There is no book at {path}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error.reason}): convert it first.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not book.chapters:
        raise TextError(f"{path} has no text to read aloud.")
    return book


def _read_plain(path: Path) -> Book:
    """Paragraphs are separated by empty lines; a short line such as "Chapter 3" is a heading."""
    blocks = []
    for part in re.split(r"\n\s*\n", path.read_text(encoding="utf-8-sig")):
        text = " ".join(part.split())
        if text:
            heading = "\n" not in part.strip() and _CHAPTER.fullmatch(text)
            blocks.append(Block(HEADING if heading else PARAGRAPH, text))
    return Book(path.stem, None, "en", _chapters(blocks, path.stem))


def _read_markdown(path: Path) -> Book:
    """Headings of the first two levels begin chapters; code and comments are left out."""
    text = path.read_text(encoding="utf-8-sig")
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(r"^(```|~~~).*?^\1\s*$|<!--.*?-->", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks, starts = [], []
    for part in re.split(r"\n\s*\n|(?=^#)|(?<=\n)(?<!^)(?=#)", text, flags=re.MULTILINE):
        lines = part.strip().splitlines()
        while lines and (heading := _MARKDOWN_HEADING.match(lines[0])):
            if len(heading[1]) <= 2:
                starts.append(len(blocks))
            blocks.append(Block(HEADING, _unmarked(heading[2])))
            lines = lines[1:]
        plain = _unmarked("\n".join(lines))
        if plain:
            blocks.append(Block(PARAGRAPH, plain))
    titles = [block.text for block in blocks if block.kind == HEADING]
    title = titles[0] if titles else path.stem
    return Book(title, None, "en", _chapters(blocks, title, starts))


def _unmarked(text: str) -> str:
    for pattern, plain in _MARKDOWN:
        text = pattern.sub(plain, text)
    return " ".join(text.split())


def _chapters(
    blocks: Sequence[Block], title: str, starts: Sequence[int] | None = None
) -> tuple[Chapter, ...]:
    """Blocks in chapters that begin at `starts`, at each heading where that is None."""
    if starts is None:
        starts = [i for i, block in enumerate(blocks) if block.kind == HEADING]
    bounds = [0]
    for i in starts:
        # A heading right after the book's title does not begin another chapter.
        if any(block.kind != HEADING for block in blocks[bounds[-1] : i]):
            bounds.append(i)
    bounds.append(len(blocks))
    chapters = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        part = tuple(blocks[start:end])
        if part:
            name = part[0].text if part[0].kind == HEADING else title
            chapters.append(Chapter(name, part))
    return tuple(chapters)


# EPUB

_NAMES = {
    "c": "urn:oasis:names:tc:opendocument:xmlns:container",
    "opf": "http://www.idpf.org/2007/opf",
    "dc": "http://purl.org/dc/elements/1.1/",
    "enc": "http://www.w3.org/2001/04/xmlenc#",
}
_SILENT = {"script", "style", "head", "svg", "math", "audio", "video", "nav", "template", "table"}
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_BLOCKS = {"p", "li", "blockquote", "div", "section", "dd", "dt", "figcaption", "pre", "body"}


def _read_epub(path: Path) -> Book:
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_package(archive, path)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ConfigError(f"{path} is not an EPUB, or is damaged: {error}") from error


def _read_package(archive: zipfile.ZipFile, path: Path) -> Book:
    container = _xml(archive, "META-INF/container.xml", path)
    roots = container.xpath("//c:rootfile/@full-path", namespaces=_NAMES)
    if not roots:
        raise ConfigError(f"{path} names no package in META-INF/container.xml: it is damaged.")
    package = _xml(archive, roots[0], path)

    def about(name: str) -> str | None:
        found = package.xpath(f"string(//dc:{name})", namespaces=_NAMES).strip()
        return " ".join(found.split()) or None

    items = {
        item.get("id"): item for item in package.xpath("//opf:manifest/opf:item", namespaces=_NAMES)
    }
    names = [
        posixpath.normpath(posixpath.join(posixpath.dirname(roots[0]), _plain_path(item)))
        for ref in package.xpath("//opf:spine/opf:itemref[not(@linear='no')]", namespaces=_NAMES)
        if (item := items.get(ref.get("idref"))) is not None
        and "nav" not in (item.get("properties") or "").split()
        and item.get("media-type") in ("application/xhtml+xml", "text/html")
    ]
    _check_open(archive, names, path)
    title = about("title") or path.stem
    chapters = []
    for name in names:
        blocks = list(_blocks(_xml(archive, name, path)))
        heading = next((block.text for block in blocks if block.kind == HEADING), None)
        if blocks:
            chapters.append(Chapter(heading or f"Part {len(chapters) + 1}", tuple(blocks)))
    return Book(title, about("creator"), about("language") or "en", tuple(chapters))


def _plain_path(item: Any) -> str:
    return unquote(urlsplit(item.get("href") or "").path)


def _check_open(archive: zipfile.ZipFile, names: Sequence[str], path: Path) -> None:
    """Refuse a book whose text is encrypted; fonts may be."""
    if "META-INF/encryption.xml" not in archive.namelist():
        return
    tree = _xml(archive, "META-INF/encryption.xml", path)
    closed = {unquote(uri) for uri in tree.xpath("//enc:CipherReference/@URI", namespaces=_NAMES)}
    if closed & set(names):
        raise ConfigError(f"{path} is copy-protected: its text cannot be read.")


def _xml(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

    if archive.getinfo(name).file_size > _LARGEST_DOCUMENT:
        raise ConfigError(f"{path}: {name} is too large to be a chapter of a book.")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, recover=True, huge_tree=False
    )
    data = re.sub(
        rb"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[\da-fA-F]+);)(\w+);", _entity, archive.read(name)
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ConfigError(f"{path}: {name} is not XML: {error}") from error
    if root is None:
        raise ConfigError(f"{path}: {name} is empty or not XML.")
    return root


def _entity(match: re.Match[bytes]) -> bytes:
    """Replace names such as &nbsp;, which XML defines only in a DTD."""
    from html.entities import html5

    character = html5.get(match[1].decode("ascii", "replace") + ";")
    return match[0] if character is None else character.encode()


def _blocks(root: Any) -> Iterator[Block]:
    """Headings and paragraphs of a document, in reading order."""
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

    pending: list[str] = []

    def flush(kind: str) -> Iterator[Block]:
        text = " ".join("".join(pending).split())
        pending.clear()
        if any(map(str.isalnum, text)):
            yield Block(kind, text)

    def walk(element: Any, kind: str) -> Iterator[Block]:
        name = etree.QName(element).localname if isinstance(element.tag, str) else ""
        if not name or name in _SILENT:
            return
        is_block = name in _BLOCKS or name in _HEADINGS
        own = HEADING if name in _HEADINGS else PARAGRAPH if is_block else kind
        if is_block:
            yield from flush(kind)
        pending.append(" " if name == "br" else "")
        pending.append(element.text or "")
        for child in element:
            yield from walk(child, own)
            pending.append(child.tail or "")
        if is_block:
            yield from flush(own)

    body = root.xpath("//*[local-name()='body']")
    for element in body or [root]:
        yield from walk(element, PARAGRAPH)
