"""Rows of a corpus: what is read, and what is refused with which reason."""

import json
from pathlib import Path

import pytest

from pocket_tts_jax.bulk.rows import BadRow, Row, read_rows, seed_of
from pocket_tts_jax.errors import ConfigError, ConfigNotFound


def write(path: Path, *lines: object) -> Path:
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def one(path: Path, **fields: object) -> Row | BadRow:
    (row,) = read_rows(write(path / "corpus.jsonl", {"id": "a", "text": "Hello."} | fields))
    return row


def test_all_fields(tmp_path: Path) -> None:
    found = one(tmp_path, voice="joe", language="french", seed=7, speed=1.5, speaker="ignored")
    assert found == Row(0, "a", "Hello.", "joe", "french", 7, 1.5)


def test_defaults(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", {"id": 12, "text": "Hello.", "voice": ""})
    assert list(read_rows(path, "joe", 1.2)) == [
        Row(0, "12", "Hello.", "joe", None, seed_of("12"), 1.2)
    ]


def test_seeds_come_from_ids() -> None:
    assert seed_of("a") == 0xCA978112CA1BBDCA  # SHA-256 of "a", its first 64 bits
    assert len({seed_of(str(i)) for i in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": " "}, "no text"),
        ({"text": None}, "no text"),
        ({"text": "\ud800"}, "not UTF-8"),
        ({"id": ""}, "no name for a file"),
        ({"id": None}, "no name for a file"),
        ({"id": True}, "no name for a file"),
        ({"id": "../up"}, "no name for a file"),
        ({"id": ".hidden"}, "no name for a file"),
        ({"id": "dot."}, "no name for a file"),
        ({"id": "CON"}, "no name for a file"),
        ({"id": "a" * 200}, "no name for a file"),
        ({"id": "é" * 150}, "199 bytes"),
        ({"voice": 3}, "voice is 3"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "not from 0"),
        ({"seed": 1.5}, "not a whole number"),
        ({"seed": True}, "not a whole number"),
        ({"seed": [1]}, "not a whole number"),
        ({"speed": 3}, "not from 0.5 to 2"),
        ({"speed": "fast"}, "not a number"),
    ],
)
def test_bad_fields(tmp_path: Path, fields: dict[str, object], reason: str) -> None:
    found = one(tmp_path, **fields)
    assert isinstance(found, BadRow) and reason in found.reason


def test_a_bad_row_does_not_stop_the_rest(tmp_path: Path) -> None:
    good = {"id": "a", "text": "Hello."}
    again = {"id": "A", "text": "Upper case."}
    path = write(tmp_path / "c.jsonl", "nonsense", good, "", "[1]", again, {"id": "b", "text": "x"})
    with open(path, "ab") as file:
        file.write(b'{"id": "c", "text": "\xff"}\n')
    rows = list(read_rows(path))
    assert [row.id for row in rows if isinstance(row, Row)] == ["a", "b"]
    bad = [(row.place, row.id, row.reason.split(":")[0]) for row in rows if isinstance(row, BadRow)]
    assert bad == [
        (0, None, "it is not JSON"),
        (2, None, "it is not a JSON object"),
        (3, "A", "an earlier row has this id"),
        (5, None, "it is not JSON"),
    ]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(
        b"\xef\xbb\xbfid,text,seed,speed,extra\n"
        b'a,"Hello, you.",7,1.5,x\n'
        b"b,Hello, you.,1,1,x\n"
        b"c,\xff,,,\n"
        b"d,Bye.,,,\n"
    )
    first, unquoted, not_text, last = read_rows(path)
    assert first == Row(0, "a", "Hello, you.", None, None, 7, 1.5)
    assert isinstance(unquoted, BadRow) and "more fields" in unquoted.reason
    assert isinstance(not_text, BadRow) and "UTF-8" in not_text.reason
    assert last == Row(3, "d", "Bye.", None, None, seed_of("d"), 1.0)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the package pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(
        {
            "id": ["a", "b", "c"],
            "text": ["Hello.", None, "Bye."],
            "seed": [7.0, float("nan"), None],
            "pages": [1, 2, 3],
        }
    )
    parquet.write_table(table, tmp_path / "c.parquet")
    first, bad, last = read_rows(tmp_path / "c.parquet")
    assert first == Row(0, "a", "Hello.", None, None, 7, 1.0)
    assert bad == BadRow(1, "b", "it has no text")
    assert isinstance(last, Row) and last.seed == seed_of("c")
    (tmp_path / "d.parquet").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="cannot be read"):
        list(read_rows(tmp_path / "d.parquet"))


def test_files_that_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(ConfigNotFound, match="There is no corpus"):
        list(read_rows(tmp_path / "none.jsonl"))
    with pytest.raises(ConfigError, match="jsonl, .csv or .parquet"):
        list(read_rows(write(tmp_path / "c.txt", "Hello.")))
    with pytest.raises(ConfigError, match="no column id and no text"):
        list(read_rows(write(tmp_path / "c.csv", "name,words", "a,b")))
