import Foundation

/// A part of a text: what is spoken, or silence.
enum Segment: Equatable {
    case text(Traced)
    case pause(seconds: Double)
}

/// Take the pause marks out of `text`: `[pause:0.5]` (or `:500ms`) and `<break time="500ms"/>`.
///
/// Punctuation right behind a mark belongs to the part before it, and so do parts without a letter
/// or digit. Pauses are cut to 10 seconds. Throws `TTSError.text` for a mark that cannot be read
/// and for any other SSML element. With `continuing` the text goes on one that was given before:
/// its first part is left as it is.
func splitPauses(_ text: Traced, continuing: Bool = false) throws -> [Segment] {
    let searched = Searched(text)
    var segments: [Segment] = []
    var start = 0
    for match in searched.matches(mark) {
        let range = searched.range(match.range)
        let part = text[start..<range.lowerBound]
        if continuing && start == 0 { segments = [.text(part)] } else { add(part, to: &segments) }
        segments.append(.pause(seconds: try seconds(match, searched.source)))
        start = range.upperBound
    }
    if segments.isEmpty { return [.text(text)] }
    add(text[start..<text.count], to: &segments)
    return segments
}

/// Takes the pause marks out of text that arrives in pieces. Parts of a text follow each other until
/// a pause comes; a mark is held back until it is whole and something to speak stands behind it.
struct PauseStream {
    private var held = Traced([])
    private var continues = false  // text was given since the last pause

    /// Throws `TTSError.text` for a mark that cannot be read; the piece is then forgotten.
    mutating func feed(_ piece: Traced) throws -> [Segment] {
        let text = held + piece
        let limit = unfinishedMark(text.scalars)
        let marks = extent(text[0..<limit])
        var (segments, end) = ([Segment](), 0)
        if let marks {
            let next = text.scalars[marks.upperBound..<limit].drop { leadingMarks.contains($0) }
            if next.contains(where: \.isLetterOrNumber) {
                segments = try splitPauses(text[0..<next.startIndex], continuing: continues)
                (continues, end) = (false, next.startIndex)
            }
        }
        let part = end..<(end == 0 ? marks?.lowerBound ?? limit : limit)
        if continues || text.scalars[part].contains(where: \.isLetterOrNumber) {
            segments.append(.text(text[part]))
            (continues, end) = (true, part.upperBound)
        }
        held = text[end..<text.count]
        return segments
    }

    /// What was held back, as the end of the text.
    mutating func flush() throws -> [Segment] {
        defer { self = PauseStream() }
        return held.isEmpty ? [] : try splitPauses(held, continuing: continues)
    }

    /// From the first mark to the end of the last.
    private func extent(_ text: Traced) -> Range<Int>? {
        let searched = Searched(text)
        let found = searched.matches(mark)
        guard let first = found.first?.range, let last = found.last?.range else { return nil }
        return searched.range(first).lowerBound..<searched.range(last).upperBound
    }

    /// Where a mark begins that may go on in the next piece; the end of the text if none does.
    private func unfinishedMark(_ text: Scalars) -> Int {
        text.indices.first { i in
            let rest = text[i...].dropFirst()
            guard text[i] == "[" || text[i] == "<", rest.count < longestMark else { return false }
            if text[i] == "<" {
                guard let next = rest.first else { return true }
                return (next == "/" || next.isLetter) && !rest.contains { $0 == ">" || $0 == "<" }
            }
            let name = String(Scalars(rest.prefix(5))).lowercased()
            return "pause".hasPrefix(name) && !rest.contains { $0 == "]" || $0 == "[" }
        } ?? text.count
    }
}

private let longestMark = 200  // characters; what is longer is text
private let longest = 10.0
private let attribute = #"[\s\x1c-\x1f]+[\p{L}\p{N}_:.-]+[\s\x1c-\x1f]*=[\s\x1c-\x1f]*(?:"[^"]*"|'[^']*')"#
private let mark = try! NSRegularExpression(
    pattern: #"\[pause(?![\p{L}\p{N}_])(?:([^\[\]]*)\])?"#
        + #"|<break((?:\#(attribute))*)[\s\x1c-\x1f]*/?>(?:[\s\x1c-\x1f]*</break[\s\x1c-\x1f]*>)?"#
        + #"|(</?([A-Za-z][\p{L}\p{N}_:.-]*)(?:\#(attribute))*[\s\x1c-\x1f]*/?>|<break(?![\p{L}\p{N}_])[^<>]*>?)"#,
    options: .caseInsensitive)
private let time = try! NSRegularExpression(
    pattern: #"[\s\x1c-\x1f]+time[\s\x1c-\x1f]*=[\s\x1c-\x1f]*["']([^"']*)["']"#, options: .caseInsensitive)
private let duration = try! NSRegularExpression(
    pattern: #"^[\s\x1c-\x1f]*\+?(\d+(?:\.\d*)?|\.\d+)[\s\x1c-\x1f]*(ms|s)?[\s\x1c-\x1f]*\z"#,
    options: .caseInsensitive)
private let leadingMarks: Set<Unicode.Scalar> = [".", ",", ";", ":", "!", "?", "…"]

private func add(_ text: Traced, to segments: inout [Segment]) {
    var behind = text[0..<text.scalars.prefix { leadingMarks.contains($0) }.count]
    var text = text
    if !text.scalars.contains(where: \.isLetterOrNumber) { (behind, text) = (text.stripped, Traced([])) }
    for index in segments.indices.reversed() {
        guard case .text(let before) = segments[index] else { continue }
        segments[index] = .text(before + behind)
        break
    }
    let rest = (text.isEmpty ? text : text[behind.count..<text.count]).stripped
    if !rest.isEmpty { segments.append(.text(rest)) }
}

private func seconds(_ match: NSTextCheckingResult, _ source: NSString) throws -> Double {
    func group(_ n: Int, _ match: NSTextCheckingResult, _ source: NSString) -> String? {
        let range = match.range(at: n)
        return range.location == NSNotFound ? nil : source.substring(with: range)
    }
    let written = source.substring(with: match.range)
    if group(3, match, source) != nil {
        throw TTSError.text(
            "\(written) is SSML that is not supported. Remove it; only <break time=\"500ms\"/> and "
                + "[pause:0.5] are understood.")
    }
    var value: String?
    var needsUnit = false
    if let inBrackets = group(1, match, source) {
        value = inBrackets.hasPrefix(":") ? String(inBrackets.dropFirst()) : nil
    } else if let attributes = group(2, match, source) {
        needsUnit = true
        let all = NSRange(location: 0, length: attributes.utf16.count)
        value = time.firstMatch(in: attributes, range: all).flatMap { group(1, $0, attributes as NSString) }
    }
    if let value {
        let found = duration.firstMatch(in: value, range: NSRange(location: 0, length: value.utf16.count))
        let unit = found.flatMap { group(2, $0, value as NSString) }?.lowercased()
        if let found, let number = group(1, found, value as NSString).flatMap(decimal),
            unit != nil || !needsUnit
        {
            return min(unit == "ms" ? number / 1000 : number, longest)
        }
    }
    throw TTSError.text("\(written) is not a pause. Write [pause:0.5] or <break time=\"500ms\"/>.")
}

/// A decimal number, whichever digits it is written in.
private func decimal(_ text: String) -> Double? {
    let digits = text.unicodeScalars.map { scalar in
        scalar.properties.numericValue.map { String(Int($0)) } ?? String(scalar)
    }
    return Double("0" + digits.joined() + (text.hasSuffix(".") ? "0" : ""))
}
