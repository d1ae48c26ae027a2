/// The fields of a SentencePiece model file (a protocol buffer) that encoding and decoding need.
struct SentencePieceFile: Sendable {
    struct Piece: Sendable {
        var text: [UInt8] = []
        var score: Float = 0
        var kind = 1
    }

    var pieces: [Piece] = []
    var algorithm = 1
    var byteFallback = false
    var unknownSurface: Scalars = " \u{2047} ".scalars
    var addDummyPrefix = true
    var removeExtraSpaces = true
    var escapeSpaces = true
    /// Where the character map lies in the file.
    nonisolated(unsafe) var characterMap: UnsafeRawBufferPointer?

    /// Nil for bytes that are no such file.
    init?(_ bytes: UnsafeRawBufferPointer) {
        var reader = Reader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let part)):
                guard let piece = Piece(part) else { return nil }
                pieces.append(piece)
            case (2, .bytes(let part)): guard readTrainer(part) else { return nil }
            case (3, .bytes(let part)): guard readNormalizer(part) else { return nil }
            default: continue
            }
        }
        guard reader.isAtEnd, !pieces.isEmpty else { return nil }
    }

    private mutating func readTrainer(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var reader = Reader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (3, .number(let value)): algorithm = Int(truncatingIfNeeded: value)
            case (35, .number(let value)): byteFallback = value != 0
            case (44, .bytes(let part)): unknownSurface = String(decoding: part, as: UTF8.self).scalars
            case (24, .number(1)): return false  // spaces behind words: no published model has it
            default: continue
            }
        }
        return reader.isAtEnd
    }

    private mutating func readNormalizer(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var reader = Reader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (2, .bytes(let part)): characterMap = part.isEmpty ? nil : part
            case (3, .number(let value)): addDummyPrefix = value != 0
            case (4, .number(let value)): removeExtraSpaces = value != 0
            case (5, .number(let value)): escapeSpaces = value != 0
            default: continue
            }
        }
        return reader.isAtEnd
    }
}

extension SentencePieceFile.Piece {
    fileprivate init?(_ bytes: UnsafeRawBufferPointer) {
        var reader = Reader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let part)): text = Array(part)
            case (2, .fixed32(let value)): score = Float(bitPattern: value)
            case (3, .number(let value)): kind = Int(truncatingIfNeeded: value)
            default: continue
            }
        }
        guard reader.isAtEnd, !score.isNaN else { return nil }
    }
}

/// The fields of a protocol buffer message, one by one. Ends early where the bytes are damaged.
private struct Reader {
    enum Value {
        case number(UInt64)
        case bytes(UnsafeRawBufferPointer)
        case fixed32(UInt32)
        case fixed64
    }

    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    mutating func next() -> (number: Int, value: Value)? {
        let start = position
        guard !isAtEnd, let tag = varint(), let value = value(Int(tag & 7)) else {
            position = start
            return nil
        }
        return (Int(truncatingIfNeeded: tag >> 3), value)
    }

    private mutating func value(_ wire: Int) -> Value? {
        switch wire {
        case 0: return varint().map(Value.number)
        case 1: return take(8).map { _ in .fixed64 }
        case 2:
            guard let length = varint(), length <= UInt64(bytes.count) else { return nil }
            return take(Int(length)).map(Value.bytes)
        case 5: return take(4).map { .fixed32($0.number(UInt32.self, at: 0)) }
        default: return nil
        }
    }

    private mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count <= bytes.count - position else { return nil }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard position < bytes.count else { return nil }
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        return nil
    }
}
