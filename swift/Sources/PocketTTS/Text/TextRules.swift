/// How one model wants its text (`text` in the manifest).
struct TextRules: Sendable {
    var padWithSpaces = false
    var removeSemicolons = false
    var appendTerminalPunctuation = true
    var capitalizeFirstLetter = true
    var replacements: [Unicode.Scalar: Scalars] = [:]

    init() {}

    init(_ text: Manifest.Text) {
        padWithSpaces = text.padWithSpacesForShortInputs
        removeSemicolons = text.removeSemicolons
        appendTerminalPunctuation = text.appendTerminalPunctuation
        capitalizeFirstLetter = text.capitalizeFirstLetter
        for (key, value) in text.replaceCharacters {
            replacements[key.unicodeScalars.first!] = value.scalars
        }
    }

    /// Bring `text` into the form of the model's training texts. Also says how many words it has.
    ///
    /// Throws `TTSError.text` when nothing is left to speak. Text of only punctuation or emoji is
    /// not empty: the model gets it as it is.
    func prepare(_ text: Traced) throws -> (text: Traced, words: Int) {
        var text = replacing(text.stripped)
        guard !text.isEmpty else { throw nothingToSpeak }
        let words = text.scalars.words.count
        text = finishingEnd(finishingStart(text))
        if padWithSpaces && text.scalars.words.count < shortText {
            text = text.replacing([(0..<0, Scalars(repeating: " ", count: 8))])
        }
        return (text, words)
    }

    /// The part that looks at nothing but a few neighbouring characters.
    func replacing(_ text: Traced) -> Traced {
        var text = text
        if !replacements.isEmpty {
            text = singleSpaces(text.replacing { replacements[$0] }.stripped)
            text = withoutCommaAfterSentence(text)
        }
        text = text.replacing { $0 == "\n" || $0 == "\r" ? [" "] : nil }
        text = halvingSpaces(text)
        return removeSemicolons ? text.replacing { $0 == ";" ? [","] : nil } : text
    }

    /// The part that concerns the first letter of a text that has one.
    func finishingStart(_ text: Traced) -> Traced {
        guard capitalizeFirstLetter, let first = text.scalars.first, !first.properties.isUppercase else {
            return text
        }
        return text.replacing([(0..<1, first.properties.uppercaseMapping.scalars)])
    }

    /// End in a sentence mark: a weak mark becomes a period, closing quotes and brackets stay.
    func finishingEnd(_ text: Traced) -> Traced {
        guard appendTerminalPunctuation else { return text }
        let scalars = text.scalars
        let core = scalars.prefix(upTo: scalars.lastIndex { !closers.contains($0) && $0 != " " }.map { $0 + 1 } ?? 0)
        guard let last = core.last else { return text }
        if weakMarks.contains(last) {
            let end = core.lastIndex { !weakMarks.contains($0) && $0 != " " }.map { $0 + 1 } ?? 0
            let behind = scalars.suffix(from: core.endIndex).stripped
            return text.replacing([
                (end..<end, ["."]), (end..<behind.startIndex, []), (behind.endIndex..<scalars.count, []),
            ])
        }
        return sentenceMarks.contains(last) ? text : text.replacing([(text.count..<text.count, ["."])])
    }
}

let nothingToSpeak = TTSError.text("There is nothing to speak: the text is empty.")
let punctuationOnly = TTSError.text(
    "There is nothing to speak: the text has punctuation only. Pass at least one word.")
let withoutSounds = TTSError.text(
    "There is nothing to speak: the model has no sound for any character of the text. Pass at least one word.")

/// What no model has a sound for by itself.
let silentMarks = Set(" \t\r\n.,;:!?…¡¿-–—'\"‘’‚“”„«»()[]{}".unicodeScalars)

private let shortText = 5  // words
private let sentenceMarks: Set<Unicode.Scalar> = [".", "!", "?", "…"]
private let weakMarks: Set<Unicode.Scalar> = [",", ";", ":", "-", "–", "—"]
private let closers: Set<Unicode.Scalar> = ["\"", "'", "”", "’", ")", "]", "»"]
private let commas: Set<Unicode.Scalar> = [",", ";", ":"]

/// Each run of white space as one space.
private func singleSpaces(_ text: Traced) -> Traced {
    var edits: [Traced.Edit] = []
    var start: Int?
    for i in 0...text.count {
        let isSpace = i < text.count && text.scalars[i].isSpace
        if let begin = start, !isSpace {
            edits.append((begin..<i, [" "]))
            start = nil
        } else if start == nil && isSpace {
            start = i
        }
    }
    return text.replacing(edits)
}

/// A deleted quote can leave a comma behind the mark that ended the quotation.
private func withoutCommaAfterSentence(_ text: Traced) -> Traced {
    var edits: [Traced.Edit] = []
    var i = 0
    while i < text.count {
        i += 1
        guard sentenceMarks.contains(text.scalars[i - 1]) else { continue }
        var next = i
        while next < text.count && text.scalars[next].isSpace { next += 1 }
        if next < text.count && commas.contains(text.scalars[next]) {
            edits.append((i - 1..<next + 1, [text.scalars[i - 1]]))
            i = next + 1
        }
    }
    return text.replacing(edits)
}

/// Each two spaces become one, once from left to right.
private func halvingSpaces(_ text: Traced) -> Traced {
    var edits: [Traced.Edit] = []
    var i = 1
    while i < text.count {
        let isPair = text.scalars[i - 1] == " " && text.scalars[i] == " "
        if isPair { edits.append((i - 1..<i + 1, [" "])) }
        i += isPair ? 2 : 1
    }
    return text.replacing(edits)
}
