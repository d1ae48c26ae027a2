/// Typographic characters as plain ones, so that `we’ve` is spoken like `we've`.
///
/// An em dash becomes a hyphen between spaces, an en dash a hyphen (so `10–20` is `10-20`).
func foldTypography(_ text: Traced) -> Traced {
    let scalars = text.scalars
    var dashes: [Traced.Edit] = []
    var i = 0
    while i < scalars.count {
        guard longDashes.contains(scalars[i]) else {
            i += 1
            continue
        }
        // White space between two dashes belongs to the first.
        let free = dashes.last?.range.upperBound ?? 0
        var start = i
        while start > free && scalars[start - 1].isSpace { start -= 1 }
        i += 1
        while i < scalars.count && scalars[i].isSpace { i += 1 }
        dashes.append((start..<i, [" ", "-", " "]))
    }
    return text.replacing(dashes).replacing { plain[$0] }
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
