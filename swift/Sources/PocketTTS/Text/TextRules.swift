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
    func prepare(_ text: Scalars) throws -> (text: Scalars, words: Int) {
        var text = replacing(Scalars(text.stripped))
        guard !text.isEmpty else { throw nothingToSpeak }
        let words = text.words.count
        text = finishingEnd(finishingStart(text))
        if padWithSpaces && text.words.count < shortText { text = Scalars(repeating: " ", count: 8) + text }
        return (text, words)
    }

    /// The part that looks at nothing but a few neighbouring characters.
    func replacing(_ text: Scalars) -> Scalars {
        var text = text
        if !replacements.isEmpty {
            text = text.flatMap { replacements[$0] ?? [$0] }
            text = withoutCommaAfterSentence(Scalars(text.words.joined(separator: [" "])))
        }
        text = text.map { $0 == "\n" || $0 == "\r" ? " " : $0 }
        text = halvingSpaces(text)
        return removeSemicolons ? text.map { $0 == ";" ? "," : $0 } : text
    }

    /// The part that concerns the first letter of a text that has one.
    func finishingStart(_ text: Scalars) -> Scalars {
        guard capitalizeFirstLetter, let first = text.first, !first.properties.isUppercase else {
            return text
        }
        return first.properties.uppercaseMapping.scalars + text.dropFirst()
    }

    /// End in a sentence mark: a weak mark becomes a period, closing quotes and brackets stay.
    func finishingEnd(_ text: Scalars) -> Scalars {
        guard appendTerminalPunctuation else { return text }
        let core = text.prefix(upTo: text.lastIndex { !closers.contains($0) && $0 != " " }.map { $0 + 1 } ?? 0)
        guard let last = core.last else { return text }
        if weakMarks.contains(last) {
            let behind = text.suffix(from: core.endIndex).stripped
            let end = core.lastIndex { !weakMarks.contains($0) && $0 != " " }.map { $0 + 1 } ?? 0
            return core.prefix(upTo: end) + ["."] + behind
        }
        return sentenceMarks.contains(last) ? text : text + ["."]
    }
}

let nothingToSpeak = TTSError.text("There is nothing to speak: the text is empty.")

private let shortText = 5  // words
private let sentenceMarks: Set<Unicode.Scalar> = [".", "!", "?", "…"]
private let weakMarks: Set<Unicode.Scalar> = [",", ";", ":", "-", "–", "—"]
private let closers: Set<Unicode.Scalar> = ["\"", "'", "”", "’", ")", "]", "»"]
private let commas: Set<Unicode.Scalar> = [",", ";", ":"]

/// A deleted quote can leave a comma behind the mark that ended the quotation.
private func withoutCommaAfterSentence(_ text: Scalars) -> Scalars {
    var result = Scalars()
    var i = 0
    while i < text.count {
        result.append(text[i])
        i += 1
        guard sentenceMarks.contains(text[i - 1]) else { continue }
        var next = i
        while next < text.count && text[next].isSpace { next += 1 }
        if next < text.count && commas.contains(text[next]) { i = next + 1 }
    }
    return result
}

/// Each two spaces become one, once from left to right.
private func halvingSpaces(_ text: Scalars) -> Scalars {
    var result = Scalars()
    var i = 0
    while i < text.count {
        result.append(text[i])
        i += text[i] == " " && i + 1 < text.count && text[i + 1] == " " ? 2 : 1
    }
    return result
}
