import Foundation

/// Text to token ids and back. Holds no state between calls: tasks share it.
protocol Tokenizer: Sendable {
    /// Number of token ids; every id of `encode` is below it.
    var size: Int { get }

    /// Ids of `text`, with whatever marks the vocabulary itself adds (such as `<s>`).
    func encode(_ text: Scalars) -> [Int]

    /// Text of `ids`; control tokens vanish.
    func decode(_ ids: some Collection<Int>) -> Scalars

    /// The code points of `text` that each id of `encode` stands for, perhaps with white space around.
    func spans(_ text: Scalars) -> [Range<Int>]

    /// What each of `ids` decodes to, apart from white space. The last byte of a character that is
    /// spelled in bytes has it all.
    func pieces(_ ids: [Int]) -> [Scalars]
}

extension Tokenizer {
    /// `pieces`, where `byte` says which byte an id spells, if it does.
    func pieces(_ ids: [Int], byte: (Int) -> UInt8?) -> [Scalars] {
        var (start, wanted) = (0, 0)
        return ids.indices.map { i in
            if start == i { wanted = byte(ids[i]).map(bytesOfCharacter) ?? 1 }
            let isWhole = i + 1 - start >= wanted || i + 1 == ids.count || byte(ids[i + 1]) == nil
            guard isWhole else { return [] }
            defer { start = i + 1 }
            return decode(ids[start...i])
        }
    }
}

/// Open the vocabulary of a model. Throws `TTSError.tokenizer` for a file that is damaged, of
/// another kind, or of another size than the manifest says.
func openTokenizer(_ folder: ModelFolder) throws -> any Tokenizer {
    let described = folder.manifest.tokenizer
    let path = try folder.file(described.path)
    let tokenizer: any Tokenizer
    switch described.kind {
    case "sentencepiece": tokenizer = try SentencePieceTokenizer(path)
    case "tokenizers": tokenizer = try JSONTokenizer(path)
    default:
        throw TTSError.tokenizer(
            "The model has a tokenizer of the kind \(described.kind), which this version of the "
                + "package does not know. Update the package.")
    }
    guard tokenizer.size == described.size else {
        throw TTSError.tokenizer(
            "\(path) holds \(tokenizer.size) tokens instead of \(described.size). Copy the model "
                + "folder again.")
    }
    return tokenizer
}

let wordStart: [UInt8] = [0xE2, 0x96, 0x81]  // ▁, which vocabularies write for a space
let wordStartScalar: Unicode.Scalar = "\u{2581}"

/// UTF-8 that tokens spell out byte by byte; a byte that begins no character is U+FFFD.
func decodedBytes(_ bytes: [UInt8]) -> Scalars {
    var result = Scalars()
    var i = 0
    while i < bytes.count {
        let length = characterLength(bytes, i)
        if length == 0 {
            result.append("\u{FFFD}")
            i += 1
        } else {
            result += String(decoding: bytes[i..<i + length], as: UTF8.self).unicodeScalars
            i += length
        }
    }
    return result
}

/// How many bytes a character has that begins with this one.
private func bytesOfCharacter(_ first: UInt8) -> Int {
    switch first {
    case 0xC2...0xDF: return 2
    case 0xE0...0xEF: return 3
    case 0xF0...0xF4: return 4
    default: return 1
    }
}

/// Ranges of the UTF-8 of a text as ranges of its code points.
func scalarRanges(_ ranges: [Range<Int>], _ utf8: [UInt8]) -> [Range<Int>] {
    var places = [0]  // of each byte
    places.reserveCapacity(utf8.count + 1)
    for (i, byte) in utf8.enumerated() where i > 0 { places.append(places[i - 1] + (byte & 0xC0 == 0x80 ? 0 : 1)) }
    places.append((places.last ?? 0) + (utf8.isEmpty ? 0 : 1))
    return ranges.map { places[$0.lowerBound]..<places[$0.upperBound] }
}

/// Bytes of the well-formed character that begins at `i`, 0 if none does.
func characterLength(_ bytes: some RandomAccessCollection<UInt8>, _ i: Int) -> Int {
    func byte(_ n: Int) -> UInt8 { bytes[bytes.index(bytes.startIndex, offsetBy: n)] }
    func continues(_ n: Int) -> Bool { n < bytes.count && byte(n) & 0xC0 == 0x80 }
    let first = byte(i)
    switch first {
    case 0..<0x80: return 1
    case 0xC2...0xDF: return continues(i + 1) ? 2 : 0
    case 0xE0...0xEF:
        guard continues(i + 1), continues(i + 2) else { return 0 }
        let second = byte(i + 1)
        return (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ? 0 : 3
    case 0xF0...0xF4:
        guard continues(i + 1), continues(i + 2), continues(i + 3) else { return 0 }
        let second = byte(i + 1)
        return (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F) ? 0 : 4
    default: return 0
    }
}
