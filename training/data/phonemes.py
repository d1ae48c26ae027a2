"""English text to phonemes as rewriting rules, for a tokenizer that reads.

A SentencePiece model carries rules that rewrite text, longest match first. Here every word of a
pronouncing dictionary (CMUdict, BSD licence) is such a rule, and graphemes (`tion`, `igh`, `a`)
are the rules for what no dictionary knows. So the published tokenizer format does the work of a
phonemiser, in every engine alike, and a small model need not learn English spelling. One phoneme
is one character; a vowel has one for each of no, primary and secondary stress.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

# None of these characters occurs in English text, so that what has been read once (a chunk is cut
# from decoded tokens) is not read again.
CONSONANTS = {
    "B": "ƀ", "CH": "č", "D": "đ", "DH": "ð", "F": "ƒ", "G": "ɡ", "HH": "ħ", "JH": "ɉ", "K": "ķ",
    "L": "ł", "M": "ɱ", "N": "ɳ", "NG": "ŋ", "P": "ƥ", "R": "ɹ", "S": "ş", "SH": "ʃ", "T": "ŧ",
    "TH": "θ", "V": "ʋ", "W": "ŵ", "Y": "ƴ", "Z": "ƶ", "ZH": "ʒ", "DX": "ɾ",
}  # fmt: skip
# ARPAbet vowel: its characters by stress (none, primary, secondary), and its sound in IPA.
VOWELS = {
    "AA": ("ă", "ā", "ǎ", "ɑː"),
    "AE": ("ǟ", "ǣ", "ǽ", "æ"),
    "AH": ("ə", "ɘ", "ʌ", "ʌ"),
    "AO": ("ɔ", "ɒ", "ɵ", "ɔː"),
    "AW": ("ȧ", "ą", "ȃ", "aʊ"),
    "AY": ("ȁ", "ǡ", "ǻ", "aɪ"),
    "EH": ("ĕ", "ē", "ě", "ɛ"),
    "ER": ("ɚ", "ɝ", "ɜ", "ɜː"),
    "EY": ("ę", "ė", "ȩ", "eɪ"),
    "IH": ("ĭ", "ī", "ǐ", "ɪ"),
    "IY": ("į", "ɨ", "ȉ", "iː"),
    "OW": ("ŏ", "ō", "ǒ", "oʊ"),
    "OY": ("ȍ", "ȭ", "ȱ", "ɔɪ"),
    "UH": ("ŭ", "ū", "ǔ", "ʊ"),
    "UW": ("ų", "ů", "ű", "uː"),
}
# Sounds in IPA where they are not the vowel's or the symbol in small letters.
REDUCED = {"ə": "ə", "ɚ": "ɚ", "į": "i"}
SOUNDS = {"CH": "tʃ", "DH": "ð", "G": "ɡ", "HH": "h", "JH": "dʒ", "NG": "ŋ", "R": "ɹ", "SH": "ʃ"}
SOUNDS |= {"TH": "θ", "Y": "j", "ZH": "ʒ", "DX": "ɾ"}
IPA = {c: SOUNDS.get(name, name.lower()) for name, c in CONSONANTS.items()}
for _plain, _primary, _secondary, _sound in VOWELS.values():
    IPA |= {_plain: REDUCED.get(_plain, _sound), _primary: "ˈ" + _sound, _secondary: "ˌ" + _sound}
WORD_START = "\u2581"
MARKS = ".,;:?!"  # are tokens too: they are heard as pauses and tunes

WEAK = set(
    "a an and are as at be been but by can could did do does for from had has have he her him his "
    "i if in into is it its may me must my of on or our shall she should so than that the their "
    "them then there these they this those to us was we were what when which who will with would "
    "you your i'm i'll i've it's we're we'll you're you'll they're he's she's".split()
)
# Where the dictionary's first pronunciation is not the likelier one in running text.
PREFERRED = {
    "to": "T AH0",
    "for": "F AO0 R",
    "was": "W AH1 Z",
    "an": "AE0 N",
    "and": "AE0 N D",
    "because": "B IH0 K AH1 Z",
    "lead": "L IY1 D",
    "live": "L IH1 V",
    "read": "R IY1 D",
}
GRAPHEMES = """
tion SH AH0 N/sion ZH AH0 N/ture CH ER0/ough AO1/augh AO1/eigh EY1/igh AY1/tch CH/sch S K/ch CH
sh SH/th TH/ph F/wh W/ck K/ng NG/qu K W/gh G/wr R/ee IY1/ea IY1/ai EY1/ay EY1/ei EY1/ey IY0/ie IY1
oa OW1/oo UW1/ou AW1/ow OW1/oi OY1/oy OY1/au AO1/aw AO1/ew UW1/ue UW1/ar AA1 R/er ER0/ir ER1
ur ER1/or AO1 R/ss S/ll L/tt T/pp P/bb B/dd D/ff F/gg G/mm M/nn N/rr R/zz Z/cc K/ce S EH0/ci S IH0
cy S IY0/ge JH EH0/gi JH IH0/'s Z/a AE1/b B/c K/d D/e EH0/f F/g G/h HH/i IH1/j JH/k K/l L/m M/n N
o AA1/p P/q K/r R/s S/t T/u AH1/v V/w W/x K S/y IY0/z Z/é EY1/è EH1/á AA1/à AA1/â AA1/ä EH1/å OW1
ç S/ê EH1/ë EH0/í IY1/î IY1/ï IY1/ñ N Y/ó OW1/ô OW1/ö ER1/ø ER1/ú UW1/û UW1/ü UW1/æ EH1/œ ER1/ß S
"""
ENDINGS = "e /es Z/ed D/y IY0/o OW0/a AH0/i IY0"  # at the end of a word only
SPOKEN_CHARACTERS = dict(
    zip("0123456789", "zero one two three four five six seven eight nine".split(), strict=True)
) | {"&": "and", "%": "percent", "$": "dollars", "+": "plus", "=": "equals", "@": "at", "/": ""}
REWRITTEN = {"—": ",", "–": ",", "…": ".", "-": " ", "_": " "} | dict.fromkeys("'\"()[]’‘“”*#", "")


def spell(pronunciation: str) -> str:
    """ARPAbet with stress digits ("HH AH0 L OW1") to our characters ("ħəłō")."""
    sounds = _linked(pronunciation.split())
    if len(sounds) > 2:
        sounds = [_flapped(sounds, i) for i in range(len(sounds))]
    return "".join(VOWELS[s[:-1]][int(s[-1])] if s[-1].isdigit() else CONSONANTS[s] for s in sounds)


def _linked(sounds: list[str]) -> list[str]:
    """An ER before a vowel ends in an R: "corrupt" is K ER R AH P T."""
    linked = []
    for sound, following in zip(sounds, [*sounds[1:], ""], strict=False):
        linked += [sound, "R"] if sound.startswith("ER") and following[-1:].isdigit() else [sound]
    return linked


def _flapped(sounds: list[str], i: int) -> str:
    """American English: a T behind a vowel or R and before an unstressed vowel is a tap."""
    inside = 0 < i < len(sounds) - 1 and sounds[i] == "T"
    if inside and sounds[i + 1].endswith("0"):
        before = sounds[i - 2] if sounds[i - 1] == "R" and i > 1 else sounds[i - 1]
        if before[-1].isdigit():
            return "DX"
    return sounds[i]


def read_dictionary(lines: Iterable[str]) -> dict[str, str]:
    """First pronunciation of each word of a file in CMUdict's form. Weak words lose their stress,
    or keep a secondary one where the vowel would be reduced without: "these" is not "this"."""
    words: dict[str, str] = {}
    for line in lines:
        word, _, sounds = line.split("#")[0].strip().lower().partition(" ")
        if word and word.replace("'", "").isalpha() and word.isascii():
            words.setdefault(word, sounds.strip().upper())
    words |= {word: sounds for word, sounds in PREFERRED.items() if word in words}
    for word in WEAK & words.keys():
        for vowel in ("AH", "ER", "IY"):
            words[word] = words[word].replace(f"{vowel}1", f"{vowel}2")
        words[word] = words[word].replace("1", "0")
    return words


def rules(words: Mapping[str, str]) -> dict[str, str]:
    """What to rewrite into what. Short words count at a word's end only: "of" is not in "offal"."""
    spoken = {word: spell(sounds) for word, sounds in words.items()}
    found = dict(_pairs(GRAPHEMES.replace("\n", "/")))
    found |= {stem + mark: s + mark for stem, s in _pairs(ENDINGS) for mark in " " + MARKS}
    for word, sounds in spoken.items():
        if len(word.replace("'", "")) > 2 or "'" in word:
            found[word] = sounds
        elif len(word) == 2 or word in ("a", "i"):
            found |= {word + mark: sounds + mark for mark in " " + MARKS}
        else:  # the name of a letter
            found |= {f" {word}{mark}": f" {sounds}{mark}" for mark in " " + MARKS}
    found |= {c: f" {spoken.get(word, '')}" for c, word in SPOKEN_CHARACTERS.items()}
    found |= REWRITTEN | {c.upper(): c for c in IPA}  # a chunk's first letter is made a capital
    forms = {form: sounds for text, sounds in found.items() for form in _cases(text)}
    return {form: sounds for form, sounds in forms.items() if form != sounds}


def _pairs(table: str) -> Iterator[tuple[str, str]]:
    for entry in filter(None, table.split("/")):
        text, _, sounds = entry.partition(" ")
        yield text, spell(sounds)


def _cases(text: str) -> set[str]:
    first = 1 if text.startswith(" ") else 0
    return {text, text[:first] + text[first:].capitalize(), text.upper()}


def teacher_symbols(piece: str) -> list[str]:
    """The symbols with which the teacher speaks a token; none for what is not heard."""
    if piece in MARKS:
        return [piece]
    return [" "] if piece == WORD_START else list(IPA.get(piece, ""))


def word_spans(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """First and one-past-last token of every word; a word starts at a token with a space."""
    starts = [i for i, piece in enumerate(pieces) if piece.startswith(WORD_START)]
    return list(zip(starts, [*starts[1:], len(pieces)], strict=True))
