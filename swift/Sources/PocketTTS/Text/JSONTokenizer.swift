import Foundation

/// A vocabulary of the Hugging Face `tokenizers` library (`tokenizer.json`): unigram, with the
/// normalizers and decoders that vocabularies made from SentencePiece have. Others are refused.
struct JSONTokenizer: Tokenizer {
    private let pieces: [[UInt8]]
    private let unigram: Unigram
    private let ids: [[UInt8]: Int]
    private let unknown: Int?
    private let byteIDs: [Int]  // of the 256 bytes; empty without byte fallback
    private let bytesByID: [Int: UInt8]
    private let added: PieceTrie?
    private let special: Set<Int>
    private let normalizers: [Step]
    private let decoders: [Step]
    private let prefix: [Int]
    private let suffix: [Int]

    /// One step of a pipeline that texts or tokens go through.
    private enum Step: Sendable {
        case replace(NSRegularExpression, with: String)
        case replaceText(Scalars, with: Scalars)
        case prepend(Scalars)
        case byteFallback
        case fuse
        case strip(Unicode.Scalar, start: Int, stop: Int)
    }

    init(_ path: String) throws {
        let file = try MappedFile(path)
        let data = Data(file.bytes)
        guard let root = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
            let model = root["model"] as? [String: Any], let vocabulary = model["vocab"] as? [[Any]],
            model["type"] as? String == "Unigram"
        else {
            throw TTSError.tokenizer("\(path) is damaged or no unigram vocabulary. Copy it again.")
        }
        func unsupported(_ what: String) -> TTSError {
            .tokenizer("\(path) has \(what), which this package does not know.")
        }
        var scores: [Double] = []
        var (pieces, ids, trie) = ([[UInt8]](), [[UInt8]: Int](), PieceTrie())
        for (id, entry) in vocabulary.enumerated() {
            guard entry.count == 2, let text = entry[0] as? String, let score = entry[1] as? Double
            else { throw unsupported("an entry \(entry)") }
            let bytes = Array(text.utf8)
            pieces.append(bytes)
            scores.append(asTokenizersReads(score))
            ids[bytes] = id
            trie.insert(bytes, id)
        }
        (self.pieces, self.ids) = (pieces, ids)
        unigram = Unigram(
            trie: trie, unknownScore: (scores.min() ?? 0) - 10, scores: scores, single: false)
        unknown = model["unk_id"] as? Int
        let bytes = (0..<256).map { ids[Array(String(format: "<0x%02X>", $0).utf8)] }
        let known = Dictionary(
            uniqueKeysWithValues: bytes.enumerated().compactMap { byte, id in
                id.map { ($0, UInt8(byte)) }
            })
        bytesByID = known
        byteIDs = model["byte_fallback"] as? Bool == true && known.count == 256 ? bytes.map { $0! } : []
        guard unknown != nil || !byteIDs.isEmpty else { throw unsupported("no token for the unknown") }
        guard let pre = root["pre_tokenizer"] as? [String: Any], pre["type"] as? String == "Metaspace",
            pre["replacement"] as? String == "▁", pre["prepend_scheme"] as? String == "never",
            pre["split"] as? Bool == false
        else { throw unsupported("another pre_tokenizer than Metaspace without prefix and split") }
        normalizers = try JSONTokenizer.steps(root["normalizer"], "normalizers", unsupported)
        decoders = try JSONTokenizer.steps(root["decoder"], "decoders", unsupported)
        (added, special) = try addedTokens(root["added_tokens"] as? [[String: Any]] ?? [], unsupported)
        (prefix, suffix) = try template(root["post_processor"], unsupported)
    }

    var size: Int { pieces.count }

    func encode(_ text: Scalars) -> [Int] {
        var result = prefix
        let bytes = Array(String(text).utf8)
        bytes.withUnsafeBufferPointer { bytes in
            var (start, position) = (0, 0)
            while position < bytes.count {
                var found: (length: Int, id: Int)?
                added?.prefixes(bytes, position) { found = ($0, $1) }
                guard let token = found else {
                    position += 1
                    continue
                }
                encode(bytes[start..<position], into: &result)
                result.append(token.id)
                position += token.length
                start = position
            }
            encode(bytes[start...], into: &result)
        }
        return result + suffix
    }

    func decode(_ ids: some Collection<Int>) -> Scalars {
        var tokens = ids.filter { !special.contains($0) && pieces.indices.contains($0) }
            .map { (text: String(decoding: pieces[$0], as: UTF8.self).scalars, byte: bytesByID[$0]) }
        for step in decoders {
            switch step {
            case .replaceText(let pattern, let content):
                tokens = tokens.map { (replacing($0.text, pattern, content), $0.byte) }
            case .replace(let pattern, let content):
                tokens = tokens.map { (replacing($0.text, pattern, content), $0.byte) }
            case .prepend(let content): tokens = tokens.map { (content + $0.text, $0.byte) }
            case .byteFallback: tokens = withoutBytes(tokens)
            case .fuse: tokens = [(Scalars(tokens.flatMap(\.text)), nil)]
            case .strip(let character, let start, let stop):
                tokens = tokens.map { (stripped($0.text, character, start, stop), $0.byte) }
            }
        }
        return Scalars(tokens.flatMap(\.text))
    }

    private func encode(_ bytes: Slice<UnsafeBufferPointer<UInt8>>, into result: inout [Int]) {
        guard !bytes.isEmpty else { return }
        var text = String(decoding: bytes, as: UTF8.self).scalars
        for step in normalizers {
            switch step {
            case .replaceText(let pattern, let content): text = replacing(text, pattern, content)
            case .replace(let pattern, let content): text = replacing(text, pattern, content)
            case .prepend(let content): if !text.isEmpty { text = content + text }
            default: continue  // not a normalizer
            }
        }
        text = text.map { $0 == " " ? wordStartScalar : $0 }
        let utf8 = Array(String(text).utf8)
        utf8.withUnsafeBufferPointer { utf8 in
            for piece in fused(unigram.pieces(utf8)) { result += tokens(Array(utf8[piece])) }
        }
    }

    /// Neighbours that the vocabulary does not know, or knows as unknown, become one.
    private func fused(_ pieces: [Unigram.Piece]) -> [Range<Int>] {
        var result: [Range<Int>] = []
        var afterUnknown = false
        for piece in pieces {
            let isUnknown = piece.id == nil || piece.id == unknown
            if isUnknown && afterUnknown {
                result[result.count - 1] = result.last!.lowerBound..<piece.range.upperBound
            } else {
                result.append(piece.range)
            }
            afterUnknown = isUnknown
        }
        return result
    }

    private func tokens(_ piece: [UInt8]) -> [Int] {
        if let id = ids[piece] { return [id] }
        return byteIDs.isEmpty ? [unknown!] : piece.map { byteIDs[Int($0)] }
    }

    private func withoutBytes(_ tokens: [(text: Scalars, byte: UInt8?)]) -> [(text: Scalars, byte: UInt8?)] {
        var result: [(text: Scalars, byte: UInt8?)] = []
        var bytes: [UInt8] = []
        func flush() {
            guard !bytes.isEmpty else { return }
            let text = String(validating: bytes, as: UTF8.self)?.scalars
            result.append((text ?? Scalars(repeating: "\u{FFFD}", count: bytes.count), nil))
            bytes = []
        }
        for token in tokens {
            if let byte = token.byte {
                bytes.append(byte)
            } else {
                flush()
                result.append(token)
            }
        }
        flush()
        return result
    }

    private static func step(_ step: [String: Any]) -> Step? {
        let pattern = step["pattern"] as? [String: Any]
        switch step["type"] as? String {
        case "Replace":
            guard let content = step["content"] as? String else { return nil }
            if let text = pattern?["String"] as? String {
                return .replaceText(text.scalars, with: content.scalars)
            }
            guard let source = pattern?["Regex"] as? String,
                // As in the library's own expressions: lines, ended by line feeds alone.
                let expression = try? NSRegularExpression(
                    pattern: source, options: [.anchorsMatchLines, .useUnixLineSeparators])
            else { return nil }
            return .replace(expression, with: content)
        case "Prepend": return (step["prepend"] as? String).map { .prepend($0.scalars) }
        case "ByteFallback": return .byteFallback
        case "Fuse": return .fuse
        case "Strip":
            guard let content = step["content"] as? String, content.unicodeScalars.count == 1,
                let start = step["start"] as? Int, let stop = step["stop"] as? Int
            else { return nil }
            return .strip(content.unicodeScalars.first!, start: start, stop: stop)
        default: return nil
        }
    }

    /// A step, or a sequence of them under `key`.
    private static func steps(
        _ value: Any?, _ key: String, _ unsupported: (String) -> TTSError
    ) throws -> [Step] {
        guard let described = value as? [String: Any] else { return [] }
        let isSequence = described["type"] as? String == "Sequence"
        let list = isSequence ? described[key] as? [[String: Any]] ?? [] : [described]
        return try list.map {
            guard let step = step($0) else { throw unsupported("a step \($0) among its \(key)") }
            return step
        }
    }
}

/// The library reads a number as a whole number divided by a power of ten, which rounds twice where
/// it has more than 53 bits: two ways to cut a text that are equally probable depend on it.
private func asTokenizersReads(_ score: Double) -> Double {
    let parts = abs(score).description.split(separator: ".")
    guard parts.count == 2, parts[1].count <= 18, let digits = UInt64(parts[0] + parts[1]) else {
        return score
    }
    let size = Double(digits) / pow(10, Double(parts[1].count))
    return score < 0 ? -size : size
}

private func addedTokens(
    _ tokens: [[String: Any]], _ unsupported: (String) -> TTSError
) throws -> (PieceTrie?, Set<Int>) {
    var (trie, special) = (PieceTrie(), Set<Int>())
    for token in tokens {
        guard let id = token["id"] as? Int, let content = token["content"] as? String,
            !["single_word", "lstrip", "rstrip", "normalized"].contains(where: { token[$0] as? Bool == true })
        else { throw unsupported("an added token \(token)") }
        trie.insert(content.utf8, id)
        if token["special"] as? Bool == true { special.insert(id) }
    }
    return (tokens.isEmpty ? nil : trie, special)
}

/// Ids that stand before and behind every text.
private func template(
    _ value: Any?, _ unsupported: (String) -> TTSError
) throws -> ([Int], [Int]) {
    guard let processor = value as? [String: Any] else { return ([], []) }
    guard processor["type"] as? String == "TemplateProcessing",
        let single = processor["single"] as? [[String: [String: Any]]],
        let tokens = processor["special_tokens"] as? [String: [String: Any]]
    else { throw unsupported("another post_processor than a template") }
    var (prefix, suffix, behind) = ([Int](), [Int](), false)
    for part in single {
        if part["Sequence"] != nil {
            behind = true
        } else if let name = part["SpecialToken"]?["id"] as? String,
            let ids = tokens[name]?["ids"] as? [Int]
        {
            if behind { suffix += ids } else { prefix += ids }
        } else {
            throw unsupported("a template that cannot be read")
        }
    }
    return (prefix, suffix)
}

private func replacing(_ text: Scalars, _ pattern: Scalars, _ content: Scalars) -> Scalars {
    guard !pattern.isEmpty, text.count >= pattern.count else { return text }
    var result = Scalars()
    var i = 0
    while i < text.count {
        if text[i] == pattern[0], text[i...].starts(with: pattern) {
            result += content
            i += pattern.count
        } else {
            result.append(text[i])
            i += 1
        }
    }
    return result
}

private func replacing(_ text: Scalars, _ pattern: NSRegularExpression, _ content: String) -> Scalars {
    let source = String(text)
    let template = NSRegularExpression.escapedTemplate(for: content)
    let range = NSRange(location: 0, length: source.utf16.count)
    return pattern.stringByReplacingMatches(in: source, range: range, withTemplate: template).scalars
}

private func stripped(_ text: Scalars, _ character: Unicode.Scalar, _ start: Int, _ stop: Int) -> Scalars {
    var (first, last) = (0, text.count)
    while first < min(start, last) && text[first] == character { first += 1 }
    while text.count - last < stop && last > first && text[last - 1] == character { last -= 1 }
    return Scalars(text[first..<last])
}
