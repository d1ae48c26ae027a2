/// The signatures of a `.tflite` file: their names, and the file cut down to some of them.
///
/// A table of this format begins with the distance back to its vtable, which holds the distance of
/// each field. The numbers of the fields are those of LiteRT's `schema.fbs`.
struct GraphFile {
    private enum Field {
        static let subgraphs = 2
        static let signatures = 7  // of a model
        static let operators = 3  // of a subgraph
        static let key = 2
        static let subgraphIndex = 4  // of a signature
    }

    private let file: MappedFile

    init(_ file: MappedFile) { self.file = file }

    /// The names of all signatures. Throws `TTSError.folder` for what is no model.
    func signatureNames() throws -> [String] { try signatures().map(\.name) }

    /// Remove all other signatures, and their subgraphs with them, from a file that was mapped
    /// writable. The subgraphs keep their indices: the smallest one takes the places of the others.
    func keep(_ names: Set<String>) throws {
        let model = try target(0)
        let subgraphs = try vector(model, Field.subgraphs)
        let entries = try vector(model, Field.signatures)
        let kept = try signatures().filter { names.contains($0.name) }
        let needed = Set(kept.map(\.subgraph))
        let places = try (0..<subgraphs.count).map { try target(subgraphs.start + 4 * $0) }
        let sizes = try places.map { try vector($0, Field.operators).count }
        guard let smallest = places.indices.min(by: { sizes[$0] < sizes[$1] }) else { throw malformed }
        for index in places.indices where !needed.contains(index) {
            try point(subgraphs.start + 4 * index, to: places[smallest])
        }
        for (entry, signature) in kept.enumerated() {
            try point(entries.start + 4 * entry, to: signature.place)
        }
        try file.write(UInt32(kept.count), at: entries.start - 4)
    }

    private func signatures() throws -> [(name: String, place: Int, subgraph: Int)] {
        let entries = try vector(try target(0), Field.signatures)
        return try (0..<entries.count).map { entry in
            let place = try target(entries.start + 4 * entry)
            guard let key = try field(place, Field.key) else { throw malformed }
            let text = try target(key)
            let end = text + 4 + (try unsigned(text))
            guard end <= file.bytes.count else { throw malformed }
            let name = String(decoding: file.bytes[text + 4..<end], as: UTF8.self)
            let index = try field(place, Field.subgraphIndex)
            return (name, place, try index.map(unsigned) ?? 0)
        }
    }

    /// Where a vector in a field begins, and how many entries it has.
    private func vector(_ table: Int, _ number: Int) throws -> (start: Int, count: Int) {
        guard let place = try field(table, number) else { return (0, 0) }
        let start = try target(place)
        let count = try unsigned(start)
        guard start + 4 + 4 * count <= file.bytes.count else { throw malformed }
        return (start + 4, count)
    }

    /// Where a field of a table stands; nil where it has its default.
    private func field(_ table: Int, _ number: Int) throws -> Int? {
        let vtable = table - Int(try value(Int32.self, table))
        guard 4 + 2 * number < Int(try value(UInt16.self, vtable)) else { return nil }
        let distance = Int(try value(UInt16.self, vtable + 4 + 2 * number))
        return distance == 0 ? nil : table + distance
    }

    private func target(_ place: Int) throws -> Int { place + (try unsigned(place)) }

    private func unsigned(_ place: Int) throws -> Int { Int(try value(UInt32.self, place)) }

    private func value<Number: FixedWidthInteger>(_ type: Number.Type, _ place: Int) throws -> Number {
        guard 0 <= place, place + MemoryLayout<Number>.size <= file.bytes.count else { throw malformed }
        return file.bytes.number(type, at: place)
    }

    /// Let the offset at `place` point to `target`, which always lies behind it in this format.
    private func point(_ place: Int, to target: Int) throws {
        guard let distance = UInt32(exactly: target - place) else { throw malformed }
        try file.write(distance, at: place)
    }

    private var malformed: TTSError {
        TTSError.folder("\(file.path) is no model of LiteRT. Copy the model folder again.")
    }
}
