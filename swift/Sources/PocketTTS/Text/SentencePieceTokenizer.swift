import Foundation

/// A SentencePiece model (`tokenizer.model`) of the kinds unigram and character.
struct SentencePieceTokenizer: Tokenizer {
    private enum Kind: Int {
        case normal = 1, unknown, control, userDefined, unused, byte
    }

    private enum Algorithm: Int {
        case unigram = 1, bpe, word, character
    }

    private let file: MappedFile  // what `map` points into
    private let settings: SentencePieceFile
    private let map: CharacterMap?
    private let kinds: [Kind]
    private let byteIDs: [Int]  // of the 256 bytes; empty without byte fallback
    private let unknown: Int
    private let algorithm: Algorithm
    private let userDefined: PieceTrie?
    private let characters: PieceTrie
    private let unigram: Unigram

    init(_ path: String) throws {
        file = try MappedFile(path)
        guard let settings = SentencePieceFile(file.bytes) else { throw damaged(path) }
        self.settings = settings
        guard let algorithm = Algorithm(rawValue: settings.algorithm),
            algorithm == .unigram || algorithm == .character
        else {
            throw TTSError.tokenizer(
                "\(path) is neither a unigram nor a character model, which is all this package reads.")
        }
        self.algorithm = algorithm
        if let bytes = settings.characterMap {
            guard let map = CharacterMap(bytes) else { throw damaged(path) }
            self.map = map
        } else {
            map = nil
        }
        let kinds = settings.pieces.map { Kind(rawValue: $0.kind) ?? .normal }
        self.kinds = kinds
        guard let unknown = kinds.firstIndex(of: .unknown) else { throw damaged(path) }
        self.unknown = unknown
        byteIDs = try byteTokens(settings, kinds.indices.filter { kinds[$0] == .byte }, path)
        var (trie, all, user) = (PieceTrie(), PieceTrie(), PieceTrie())
        for (id, piece) in settings.pieces.enumerated() {
            all.insert(piece.text, id)
            if kinds[id] == .normal || kinds[id] == .userDefined { trie.insert(piece.text, id) }
            if kinds[id] == .userDefined { user.insert(piece.text, id) }
        }
        userDefined = kinds.contains(.userDefined) ? user : nil
        characters = all
        unigram = Unigram(
            trie: trie, settings, normal: kinds.map { $0 == .normal },
            user: kinds.map { $0 == .userDefined })
    }

    var size: Int { settings.pieces.count }

    func encode(_ text: Scalars) -> [Int] { tokens(Array(String(text).utf8)).map(\.id) }

    func spans(_ text: Scalars) -> [Range<Int>] {
        let utf8 = Array(String(text).utf8)
        return scalarRanges(tokens(utf8).map(\.range), utf8)
    }

    func pieces(_ ids: [Int]) -> [Scalars] {
        pieces(ids) { kinds[$0] == .byte ? byteIDs.firstIndex(of: $0).map { UInt8($0) } : nil }
    }

    /// Ids with the bytes of the text that they stand for.
    private func tokens(_ utf8: [UInt8]) -> [(id: Int, range: Range<Int>)] {
        let (normalized, origins) = utf8.withUnsafeBufferPointer(normalize)
        return normalized.withUnsafeBufferPointer { bytes in
            tokens(algorithm == .unigram ? unigram.pieces(bytes) : characterPieces(bytes), bytes, origins)
        }
    }

    func decode(_ ids: some Collection<Int>) -> Scalars {
        var result = Scalars()
        var bytes: [UInt8] = []
        // A space at the very beginning is the one that was put there.
        var atStart = true
        var sawStart = false
        for id in ids {
            if kinds[id] == .byte {
                bytes.append(UInt8(byteIDs.firstIndex(of: id)!))
                continue
            }
            result += decodedBytes(bytes)
            bytes = []
            if sawStart || !result.isEmpty { atStart = false }
            sawStart = false
            switch kinds[id] {
            case .control: continue
            case .unknown: result += settings.unknownSurface
            default:
                var piece = settings.pieces[id].text[...]
                if atStart && (settings.addDummyPrefix || settings.removeExtraSpaces)
                    && piece.starts(with: wordStart)
                {
                    piece = piece.dropFirst(3)
                    sawStart = !settings.removeExtraSpaces
                }
                let text = String(decoding: piece, as: UTF8.self).unicodeScalars
                result += text.map { $0 == wordStartScalar ? " " : $0 }
            }
        }
        return result + decodedBytes(bytes)
    }

    /// The text in the vocabulary's own spelling: mapped characters, single spaces, ▁ for each. And
    /// where each of its bytes, and its end, comes from.
    private func normalize(_ text: UnsafeBufferPointer<UInt8>) -> (bytes: [UInt8], origins: [Int]) {
        var result: [UInt8] = []
        var origins: [Int] = []
        func keepUp(_ place: Int) { while origins.count < result.count { origins.append(place) } }
        let space = settings.escapeSpaces ? wordStart : [0x20]
        var position = 0
        if settings.removeExtraSpaces {
            while position < text.count {
                let (length, piece) = mapped(text, position)
                guard piece.elementsEqual([0x20]) else { break }
                position += length
            }
        }
        guard position < text.count else { return ([], [position]) }
        if settings.addDummyPrefix { result += space }
        keepUp(position)
        var afterSpace = settings.removeExtraSpaces
        while position < text.count {
            let (length, piece) = mapped(text, position)
            let rest = afterSpace ? piece.drop { $0 == 0x20 } : piece[...]
            for byte in rest { if byte == 0x20 { result += space } else { result.append(byte) } }
            keepUp(position)
            position += length
            // A look into the map brings the pages around it: megabytes in the course of a text.
            if position % 64 < length || position == text.count { file.releasePages() }
            if let last = rest.last { afterSpace = last == 0x20 }
            if !settings.removeExtraSpaces { afterSpace = false }
        }
        if settings.removeExtraSpaces {
            while result.suffix(space.count) == space[...] {
                result.removeLast(space.count)
                position = origins[result.count]
                origins.removeLast(space.count)
            }
        }
        return (result, origins + [position])
    }

    /// The next stretch of text that is mapped as one, and what it is mapped to.
    private func mapped(
        _ text: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> (Int, UnsafeRawBufferPointer) {
        func itself(_ length: Int) -> (Int, UnsafeRawBufferPointer) {
            (length, UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(text)[start..<start + length]))
        }
        var length = 0
        userDefined?.prefixes(text, start) { count, _ in length = count }
        if length > 0 { return itself(length) }
        if let (length, replacement) = map?.longest(text, start) { return (length, replacement) }
        return itself(max(1, characterLength(text, start)))
    }

    private func characterPieces(_ bytes: UnsafeBufferPointer<UInt8>) -> [Unigram.Piece] {
        var result: [Unigram.Piece] = []
        var start = 0
        while start < bytes.count {
            var length = 0
            userDefined?.prefixes(bytes, start) { count, _ in length = count }
            if length == 0 { length = max(1, characterLength(bytes, start)) }
            var id: Int?
            characters.prefixes(bytes, start) { count, found in if count == length { id = found } }
            result.append((start..<start + length, id == unknown ? nil : id))
            start += length
        }
        return result
    }

    /// Unknown pieces byte by byte where the vocabulary has bytes, else neighbours as one.
    private func tokens(
        _ pieces: [Unigram.Piece], _ bytes: UnsafeBufferPointer<UInt8>, _ origins: [Int]
    ) -> [(id: Int, range: Range<Int>)] {
        var result: [(id: Int, range: Range<Int>)] = []
        var afterUnknown = false
        for piece in pieces {
            let range = origins[piece.range.lowerBound]..<origins[piece.range.upperBound]
            if let id = piece.id {
                result.append((id, range))
            } else if !byteIDs.isEmpty {
                // The last byte stands for the character.
                for place in piece.range {
                    let isLast = place == piece.range.upperBound - 1
                    result.append(
                        (byteIDs[Int(bytes[place])], isLast ? range : range.lowerBound..<range.lowerBound))
                }
            } else if !afterUnknown {
                result.append((unknown, range))
            } else {
                result[result.count - 1].range = result[result.count - 1].range.lowerBound..<range.upperBound
            }
            afterUnknown = piece.id == nil
        }
        return result
    }
}

private func damaged(_ path: String) -> TTSError {
    .tokenizer("\(path) is damaged or no SentencePiece model. Copy the model folder again.")
}

private func byteTokens(
    _ settings: SentencePieceFile, _ ids: [Int], _ path: String
) throws -> [Int] {
    guard settings.byteFallback else { return [] }
    var found = [Int](repeating: -1, count: 256)
    for id in ids {
        let name = String(decoding: settings.pieces[id].text, as: UTF8.self)
        guard name.hasPrefix("<0x"), let byte = UInt8(name.dropFirst(3).dropLast(), radix: 16) else {
            throw damaged(path)
        }
        found[Int(byte)] = id
    }
    guard !found.contains(-1) else { throw damaged(path) }
    return found
}

extension Unigram {
    fileprivate init(trie: PieceTrie, _ file: SentencePieceFile, normal: [Bool], user: [Bool]) {
        let known = file.pieces.indices.filter { normal[$0] }.map { file.pieces[$0].score }
        let (least, most) = (known.min() ?? 0, known.max() ?? 0)
        let scores = file.pieces.indices.map { id in
            let length = Float(file.pieces[id].text.count)
            return Double(user[id] ? length * most - 0.1 : file.pieces[id].score)
        }
        self.init(trie: trie, unknownScore: Double(least - 10), scores: scores, single: true)
    }
}
