/// Typographic characters as plain ones, so that `we’ve` is spoken like `we've`.
///
/// An em dash becomes a hyphen between spaces, an en dash a hyphen (so `10–20` is `10-20`).
func foldTypography(_ text: Scalars) -> Scalars {
    var result = Scalars()
    var i = 0
    while i < text.count {
        guard longDashes.contains(text[i]) else {
            result += plain[text[i]] ?? [text[i]]
            i += 1
            continue
        }
        // The white space in front has been folded and appended: take it back.
        var space = i
        while space > 0 && text[space - 1].isSpace { space -= 1 }
        result.removeLast(text[space..<i].reduce(0) { $0 + (plain[$1]?.count ?? 1) })
        result += [" ", "-", " "]
        i += 1
        while i < text.count && text[i].isSpace { i += 1 }
        // White space behind a dash may not stand before another one: it is gone.
        while i < text.count && longDashes.contains(text[i]) {
            result += [" ", "-", " "]
            i += 1
            while i < text.count && text[i].isSpace { i += 1 }
        }
    }
    return result
}

private let longDashes: Set<Unicode.Scalar> = ["—", "―"]

private let plain: [Unicode.Scalar: Scalars] = {
    let table: [(String, [String])] = [
        ("'", ["‘’‚‛ʼ′`´"]),
        ("\"", ["“”„‟″«»"]),
        ("-", ["‐‑‒–−"]),
        (" ", ["\u{a0}\u{202f}\u{205f}\u{3000}", String((0x2000..<0x200B).map { Unicode.Scalar($0)! })]),
        ("", ["\u{ad}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2060}\u{feff}\u{fe0e}\u{fe0f}"]),
        ("...", ["…"]), ("fi", ["ﬁ"]), ("fl", ["ﬂ"]), ("ff", ["ﬀ"]), ("ffi", ["ﬃ"]), ("ffl", ["ﬄ"]),
    ]
    var found: [Unicode.Scalar: Scalars] = [:]
    for (plain, fancy) in table {
        for scalar in fancy.joined().unicodeScalars { found[scalar] = plain.scalars }
    }
    return found
}()
