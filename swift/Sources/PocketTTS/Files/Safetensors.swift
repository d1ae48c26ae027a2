import Foundation

/// A safetensors file: its header parsed, its tensors where they lie in the mapped file.
struct Safetensors {
    struct Entry {
        let dtype: String
        let shape: [Int]
        let bytes: UnsafeRawBufferPointer
    }

    let entries: [String: Entry]
    let metadata: [String: String]
    private let file: MappedFile  // what `entries` point into

    /// Throws `TTSError.voice` for a file whose header does not describe what is in it.
    init(_ path: String) throws {
        let file = try mapped(path)
        let bytes = file.bytes
        guard bytes.count >= 8 else { throw damaged(path) }
        let size = bytes.number(UInt64.self, at: 0)
        guard size <= UInt64(bytes.count - 8) else { throw damaged(path) }
        let start = 8 + Int(size)
        let parsed = try? JSONSerialization.jsonObject(with: Data(bytes[8..<start]))
        guard let header = parsed as? [String: Any] else { throw damaged(path) }
        var found: [String: Entry] = [:]
        for (name, value) in header where name != "__metadata__" {
            found[name] = try entry(value, bytes, start, path)
        }
        entries = found
        metadata = header["__metadata__"] as? [String: String] ?? [:]
        self.file = file
        try checkCRC(path)
    }

    /// Give back the memory of what was read from the file.
    func releasePages() { file.releasePages() }

    /// The checksum that this project's voices are written with: names and values, in their order.
    private func checkCRC(_ path: String) throws {
        guard let expected = metadata["crc32"] else { return }
        var crc = CRC32()
        for (name, entry) in entries.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            var name = name
            name.withUTF8 { crc.add(UnsafeRawBufferPointer($0)) }
            crc.add(entry.bytes)
        }
        guard crc.hex == expected else { throw damaged(path) }
    }
}

private func mapped(_ path: String) throws -> MappedFile {
    do { return try MappedFile(path) } catch let error as TTSError {
        throw TTSError.voice(error.message)
    }
}

private func entry(
    _ value: Any, _ bytes: UnsafeRawBufferPointer, _ start: Int, _ path: String
) throws -> Safetensors.Entry {
    guard let fields = value as? [String: Any], let dtype = fields["dtype"] as? String,
        let shape = fields["shape"] as? [Int], let offsets = fields["data_offsets"] as? [Int],
        offsets.count == 2, 0 <= offsets[0], offsets[0] <= offsets[1],
        offsets[1] <= bytes.count - start, shape.allSatisfy({ 0 <= $0 && $0 <= bytes.count })
    else { throw damaged(path) }
    var size = ["F32": 4, "F16": 2, "I64": 8][dtype]
    for length in shape {
        guard let (product, overflow) = size?.multipliedReportingOverflow(by: length) else { break }
        size = overflow ? -1 : product
    }
    guard size == nil || size == offsets[1] - offsets[0] else { throw damaged(path) }
    let part = UnsafeRawBufferPointer(rebasing: bytes[start + offsets[0]..<start + offsets[1]])
    return Safetensors.Entry(dtype: dtype, shape: shape, bytes: part)
}

private func damaged(_ path: String) -> TTSError {
    .voice("The voice file \(path) is damaged. Copy or export it again.")
}
