import Foundation

/// One way of writing something, and how it is read.
struct Rule: @unchecked Sendable {
    private let pattern: NSRegularExpression
    private let speak: (Match) -> String

    /// `pattern` is a regular expression whose `\w`, `\b` and `\s` mean what they mean in Python:
    /// the rules are shared with the Python package, and with its golden cases.
    init(_ pattern: String, ignoringCase: Bool = false, multiline: Bool = false, _ speak: @escaping (Match) -> String) {
        var options: NSRegularExpression.Options = [.useUnixLineSeparators]
        if ignoringCase { options.insert(.caseInsensitive) }
        if multiline { options.insert(.anchorsMatchLines) }
        // A pattern that does not compile is a mistake in this file, which every test would meet.
        self.pattern = try! NSRegularExpression(pattern: translated(pattern), options: options)
        self.speak = speak
    }

    /// The matches in a text, and their readings.
    fileprivate func edits(_ text: Searched) -> [Traced.Edit] {
        text.matches(pattern).map {
            (text.range($0.range), speak(Match(match: $0, source: text.source)).scalars)
        }
    }
}

/// `text` after each rule, in order, has replaced its matches by their readings.
func applied(_ rules: [Rule], to text: Traced) -> Traced {
    var searched = Searched(text)
    for rule in rules {
        let edits = rule.edits(searched)
        if !edits.isEmpty { searched = Searched(searched.text.replacing(edits)) }
    }
    return searched.text
}

/// Where a rule's pattern was found.
struct Match {
    let match: NSTextCheckingResult
    let source: NSString

    /// What was found.
    var text: String { source.substring(with: match.range) }

    /// A group, "" where it took no part.
    subscript(_ name: String) -> String { substring(match.range(withName: name)) }
    subscript(_ group: Int) -> String { substring(match.range(at: group)) }

    /// Up to `count` code points before the match, or behind it.
    func before(_ count: Int) -> Scalars {
        var start = max(0, match.range.location - 2 * count)
        if start > 0, isHalf(start, 0xDC00..<0xE000) { start += 1 }
        let text = source.substring(with: NSRange(start..<match.range.location))
        return Scalars(text.unicodeScalars.suffix(count))
    }

    func behind(_ count: Int) -> Scalars {
        var end = min(match.range.upperBound + 2 * count, source.length)
        if end > match.range.upperBound, isHalf(end - 1, 0xD800..<0xDC00) { end -= 1 }
        let text = source.substring(with: NSRange(match.range.upperBound..<end))
        return Scalars(text.unicodeScalars.prefix(count))
    }

    private func isHalf(_ index: Int, _ kind: Range<UInt16>) -> Bool {
        kind.contains(source.character(at: index))
    }

    /// Whether an abbreviation that the match is also ends its sentence.
    var endsSentence: Bool {
        let closers: Set<Unicode.Scalar> = ["\"", "'", "”", "’", ")", "]"]
        let rest = behind(40).drop { closers.contains($0) }
        guard let word = rest.words.first else { return true }
        return rest.prefix { $0.isSpace }.contains("\n") || starters.contains(String(word))
    }

    private func substring(_ range: NSRange) -> String {
        range.location == NSNotFound ? "" : source.substring(with: range)
    }
}

/// Words that begin a sentence more often than they follow an abbreviation within one.
let starters = Set(EnglishTables.starters)

/// One of a table's signs, the longest first.
func oneOf(_ table: [(sign: String, words: String)]) -> String {
    let signs = table.map(\.sign).enumerated().sorted { a, b in
        (-a.element.unicodeScalars.count, a.offset) < (-b.element.unicodeScalars.count, b.offset)
    }
    return signs.map { NSRegularExpression.escapedPattern(for: $0.element) }.joined(separator: "|")
}

func dictionary(_ table: [(sign: String, words: String)]) -> [String: String] {
    Dictionary(uniqueKeysWithValues: table.map { ($0.sign, $0.words) })
}

/// Python's classes in ICU's: letters and numbers of all kinds, but no combining marks, are `\w`.
private func translated(_ pattern: String) -> String {
    let word = #"\p{L}\p{N}_"#
    let space = #"\s\x{1c}-\x{1f}"#
    var result = ""
    var inClass = false
    var characters = pattern.unicodeScalars.makeIterator()
    while let character = characters.next() {
        guard character == "\\", let escaped = characters.next() else {
            if character == "[" { inClass = true }
            if character == "]" { inClass = false }
            result.unicodeScalars.append(character)
            continue
        }
        switch escaped {
        case "w": result += inClass ? word : "[\(word)]"
        case "s": result += inClass ? space : "[\(space)]"
        case "S": result += "[^\(space)]"
        case "b": result += "(?:(?<=[\(word)])(?![\(word)])|(?<![\(word)])(?=[\(word)]))"
        default:
            result += "\\"
            result.unicodeScalars.append(escaped)
        }
    }
    return result
}
