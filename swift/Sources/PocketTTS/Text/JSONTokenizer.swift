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

    init(_ path: String) throws {
        let file = try MappedFile(path)
        guard let described = try? JSONDecoder().decode(TokenizerFile.self, from: Data(file.bytes)),
            described.model.type == "Unigram"
        else {
            throw TTSError.tokenizer("\(path) is damaged or no unigram vocabulary. Copy it again.")
        }
        func unsupported(_ what: String) -> TTSError {
            .tokenizer("\(path) has \(what), which this package does not know.")
        }
        let model = described.model
        var (ids, trie) = ([[UInt8]: Int](), PieceTrie())
        pieces = model.vocab.map { Array($0.text.utf8) }
        for (id, piece) in pieces.enumerated() {
            ids[piece] = id
            trie.insert(piece, id)
        }
        self.ids = ids
        let scores = model.vocab.map(\.score)
        unigram = Unigram(
            trie: trie, unknownScore: (scores.min() ?? 0) - 10, scores: scores, single: false)
        unknown = model.unk_id
        let bytes = (0..<256).map { ids[Array(String(format: "<0x%02X>", $0).utf8)] }
        let known = bytes.enumerated().compactMap { byte, id in id.map { ($0, UInt8(byte)) } }
        bytesByID = Dictionary(uniqueKeysWithValues: known)
        byteIDs = model.byte_fallback == true && known.count == 256 ? bytes.map { $0! } : []
        guard unknown != nil || !byteIDs.isEmpty else { throw unsupported("no token for the unknown") }
        guard let pre = described.pre_tokenizer, pre.type == "Metaspace", pre.replacement == "▁",
            pre.prepend_scheme == "never", pre.split == false
        else { throw unsupported("another pre_tokenizer than Metaspace without prefix and split") }
        normalizers = try steps(described.normalizer, unsupported)
        decoders = try steps(described.decoder, unsupported)
        (added, special) = try addedTokens(described.added_tokens ?? [], unsupported)
        (prefix, suffix) = try template(described.post_processor, unsupported)
    }

    var size: Int { pieces.count }

    func encode(_ text: Scalars) -> [Int] { tokens(text).map(\.id) }

    func spans(_ text: Scalars) -> [Range<Int>] { tokens(text).map(\.range) }

    func pieces(_ ids: [Int]) -> [Scalars] { pieces(ids) { bytesByID[$0] } }

    /// Ids with the code points of the text that they stand for.
    private func tokens(_ text: Scalars) -> [(id: Int, range: Range<Int>)] {
        var result = prefix.map { (id: $0, range: 0..<0) }
        let bytes = Array(String(text).utf8)
        var place = 0  // code points
        bytes.withUnsafeBufferPointer { bytes in
            var (start, position) = (0, 0)
            while position < bytes.count {
                var found: (length: Int, id: Int)?
                added?.prefixes(bytes, position) { found = ($0, $1) }
                guard let token = found else {
                    position += 1
                    continue
                }
                encode(bytes[start..<position], at: &place, into: &result)
                let content = String(decoding: bytes[position..<position + token.length], as: UTF8.self)
                result.append((token.id, place..<place + content.unicodeScalars.count))
                place += content.unicodeScalars.count
                position += token.length
                start = position
            }
            encode(bytes[start...], at: &place, into: &result)
        }
        return result + suffix.map { ($0, 0..<0) }
    }

    func decode(_ ids: some Collection<Int>) -> Scalars {
        var tokens = ids.filter { !special.contains($0) && pieces.indices.contains($0) }
            .map { (text: String(decoding: pieces[$0], as: UTF8.self).scalars, byte: bytesByID[$0]) }
        for step in decoders {
            switch step {
            case .replaceText(let pattern, let content):
                tokens = tokens.map { (replacing(Traced($0.text), pattern, content).scalars, $0.byte) }
            case .replace(let pattern, let content):
                tokens = tokens.map { (replacing(Traced($0.text), pattern, content).scalars, $0.byte) }
            case .prepend(let content): tokens = tokens.map { (content + $0.text, $0.byte) }
            case .byteFallback: tokens = withoutBytes(tokens)
            case .fuse: tokens = [(Scalars(tokens.flatMap(\.text)), nil)]
            case .strip(let character, let start, let stop):
                tokens = tokens.map { (stripped($0.text, character, start, stop), $0.byte) }
            }
        }
        return Scalars(tokens.flatMap(\.text))
    }

    private func encode(
        _ bytes: Slice<UnsafeBufferPointer<UInt8>>, at place: inout Int,
        into result: inout [(id: Int, range: Range<Int>)]
    ) {
        guard !bytes.isEmpty else { return }
        let given = String(decoding: bytes, as: UTF8.self).scalars
        var text = Traced(written: given, from: place)
        place += given.count
        for step in normalizers {
            switch step {
            case .replaceText(let pattern, let content): text = replacing(text, pattern, content)
            case .replace(let pattern, let content): text = replacing(text, pattern, content)
            case .prepend(let content):
                if let first = text.scalars.first { text = text.replacing([(0..<1, content + [first])]) }
            default: continue  // not a normalizer
            }
        }
        let utf8 = Array(String(text.scalars.map { $0 == " " ? wordStartScalar : $0 }).utf8)
        let pieces = utf8.withUnsafeBufferPointer { fused(unigram.pieces($0)) }
        for (piece, range) in zip(pieces, scalarRanges(pieces, utf8)) {
            let span = text.span(range)
            result += tokens(Array(utf8[piece])).map { ($0, span) }
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
}

/// The fields of `tokenizer.json` that are needed, under its names.
private struct TokenizerFile: Decodable {
    struct Model: Decodable {
        let type: String
        let vocab: [Entry]
        let unk_id: Int?
        let byte_fallback: Bool?
    }

    struct Entry: Decodable {
        let text: String
        let score: Double

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            text = try values.decode(String.self)
            score = try values.decode(Double.self)
        }
    }

    struct PreTokenizer: Decodable {
        let type: String
        let replacement: String?
        let prepend_scheme: String?
        let split: Bool?
    }

    /// A normalizer or decoder, or a sequence of them.
    struct Step: Decodable {
        let type: String
        let replacement: String?
        let prepend_scheme: String?
        let pattern: [String: String]?
        let content: String?
        let prepend: String?
        let start: Int?
        let stop: Int?
        let normalizers: [Step]?
        let decoders: [Step]?
    }

    struct AddedToken: Decodable {
        let id: Int
        let content: String
        let single_word: Bool
        let lstrip: Bool
        let rstrip: Bool
        let normalized: Bool
        let special: Bool
    }

    struct Processor: Decodable {
        struct Part: Decodable {
            struct Name: Decodable { let id: String }
            let SpecialToken: Name?
            let Sequence: Name?
        }

        struct Special: Decodable { let ids: [Int] }

        let type: String
        let single: [Part]?
        let special_tokens: [String: Special]?
    }

    let model: Model
    let normalizer: Step?
    let pre_tokenizer: PreTokenizer?
    let post_processor: Processor?
    let decoder: Step?
    let added_tokens: [AddedToken]?
}

/// One step of a pipeline that texts or tokens go through.
private enum Step: Sendable {
    case replace(NSRegularExpression, with: String)
    case replaceText(Scalars, with: Scalars)
    case prepend(Scalars)
    case byteFallback
    case fuse
    case strip(Unicode.Scalar, start: Int, stop: Int)

    /// Nil for a step that is not known.
    init?(_ step: TokenizerFile.Step) {
        switch step.type {
        case "Replace":
            guard let content = step.content else { return nil }
            if let text = step.pattern?["String"] {
                self = .replaceText(text.scalars, with: content.scalars)
                return
            }
            // As in the library's own expressions: lines, ended by line feeds alone.
            guard let source = step.pattern?["Regex"],
                let expression = try? NSRegularExpression(
                    pattern: source, options: [.anchorsMatchLines, .useUnixLineSeparators])
            else { return nil }
            self = .replace(expression, with: content)
        case "Prepend":
            guard let text = step.prepend else { return nil }
            self = .prepend(text.scalars)
        case "Metaspace":
            guard step.replacement == "▁", step.prepend_scheme == "never" else { return nil }
            self = .replaceText("▁".scalars, with: " ".scalars)
        case "ByteFallback": self = .byteFallback
        case "Fuse": self = .fuse
        case "Strip":
            guard let content = step.content?.unicodeScalars, content.count == 1,
                let start = step.start, let stop = step.stop
            else { return nil }
            self = .strip(content.first!, start: start, stop: stop)
        default: return nil
        }
    }
}

/// A step, or a sequence of them.
private func steps(
    _ described: TokenizerFile.Step?, _ unsupported: (String) -> TTSError
) throws -> [Step] {
    guard let described else { return [] }
    let list = described.normalizers ?? described.decoders ?? [described]
    return try list.map {
        guard let step = Step($0) else { throw unsupported("the step \($0.type)") }
        return step
    }
}

private func addedTokens(
    _ tokens: [TokenizerFile.AddedToken], _ unsupported: (String) -> TTSError
) throws -> (PieceTrie?, Set<Int>) {
    var trie = PieceTrie()
    for token in tokens {
        guard !(token.single_word || token.lstrip || token.rstrip || token.normalized) else {
            throw unsupported("the added token \(token.content)")
        }
        trie.insert(token.content.utf8, token.id)
    }
    return (tokens.isEmpty ? nil : trie, Set(tokens.filter(\.special).map(\.id)))
}

/// Ids that stand before and behind every text.
private func template(
    _ processor: TokenizerFile.Processor?, _ unsupported: (String) -> TTSError
) throws -> ([Int], [Int]) {
    guard let processor else { return ([], []) }
    guard processor.type == "TemplateProcessing", let parts = processor.single else {
        throw unsupported("another post_processor than a template")
    }
    var (prefix, suffix, behind) = ([Int](), [Int](), false)
    for part in parts {
        if part.Sequence != nil {
            behind = true
        } else if let name = part.SpecialToken?.id, let ids = processor.special_tokens?[name]?.ids {
            if behind { suffix += ids } else { prefix += ids }
        } else {
            throw unsupported("a template that cannot be read")
        }
    }
    return (prefix, suffix)
}

private func replacing(_ text: Traced, _ pattern: Scalars, _ content: Scalars) -> Traced {
    guard !pattern.isEmpty, text.count >= pattern.count else { return text }
    var edits: [Traced.Edit] = []
    var i = 0
    while i < text.count {
        if text.scalars[i] == pattern[0], text.scalars[i...].starts(with: pattern) {
            edits.append((i..<i + pattern.count, content))
            i += pattern.count
        } else {
            i += 1
        }
    }
    return text.replacing(edits)
}

private func replacing(_ text: Traced, _ pattern: NSRegularExpression, _ content: String) -> Traced {
    let searched = Searched(text)
    return text.replacing(searched.matches(pattern).map { (searched.range($0.range), content.scalars) })
}

private func stripped(_ text: Scalars, _ character: Unicode.Scalar, _ start: Int, _ stop: Int) -> Scalars {
    var (first, last) = (0, text.count)
    while first < min(start, last) && text[first] == character { first += 1 }
    while text.count - last < stop && last > first && text[last - 1] == character { last -= 1 }
    return Scalars(text[first..<last])
}
