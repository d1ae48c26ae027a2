import Foundation

/// A voice: what FlowLM's attention remembers of a speaker's recording. Never changed by speaking,
/// and shared by any number of tasks.
///
/// Make one with ``TTSModel/prepareVoice(named:)``, ``TTSModel/prepareVoice(file:)`` or
/// ``TTSModel/prepareVoice(recording:sampleRate:)``.
public final class Voice: @unchecked Sendable {
    /// Positions that the voice takes of the model's memory: its frames of 80 ms, and mostly one.
    public let length: Int
    /// What the file says about the voice, such as `licence` and `source`.
    public let metadata: [String: String]
    /// How speech with this voice is changed after the decoder, if at all.
    let timbre: Timbre?

    let shape: AttentionShape
    // Each layer's keys and values [length, heads, width], in a mapped file or in `owned`.
    private let keys: [UnsafePointer<Float>]
    private let values: [UnsafePointer<Float>]
    private let file: Safetensors?
    private let owned: [UnsafeMutableBufferPointer<Float>]

    /// A voice in memory.
    init(
        _ shape: AttentionShape, keys: [[Float]], values: [[Float]], metadata: [String: String]
    ) throws {
        self.shape = shape
        self.metadata = metadata
        timbre = try Timbre(metadata)
        length = (keys.first?.count ?? 0) / (shape.heads * shape.width)
        guard (keys + values).allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
            throw TTSError.voice("The voice holds values that are not finite: it is damaged.")
        }
        let copies = (keys + values).map { layer in
            let copy = UnsafeMutableBufferPointer<Float>.allocate(capacity: layer.count)
            _ = copy.initialize(fromContentsOf: layer)
            return copy
        }
        owned = copies
        file = nil
        self.keys = copies.prefix(shape.layers).map { UnsafePointer($0.baseAddress!) }
        self.values = copies.dropFirst(shape.layers).map { UnsafePointer($0.baseAddress!) }
    }

    /// A voice where it lies in a file: `transformer.layers.N.self_attn/cache` [2, 1, slots, heads,
    /// width], of which `/offset` (in older files the length of `/current_end`) slots are in use.
    init(_ file: Safetensors, _ shape: AttentionShape, path: String) throws {
        let found = try (0..<shape.layers).map { try layer($0, file, shape, path) }
        let lengths = Set(found.map(\.length))
        guard lengths.count == 1, let length = lengths.first,
            file.entries["transformer.layers.\(shape.layers).self_attn/cache"] == nil
        else { throw otherModel(path) }
        (self.shape, self.length, metadata) = (shape, length, file.metadata)
        timbre = try Timbre(file.metadata)
        keys = found.map(\.keys)
        values = found.map(\.values)
        self.file = file
        owned = []
        for pointer in keys + values {
            let used = UnsafeBufferPointer(start: pointer, count: length * shape.heads * shape.width)
            guard used.allSatisfy(\.isFinite) else { throw damaged(path, "it holds NaN or infinity") }
        }
        releasePages()
    }

    deinit { for copy in owned { copy.deallocate() } }

    /// Give back the memory of what was read from the voice's file.
    func releasePages() { file?.releasePages() }

    func rows(_ layer: Int) -> (keys: UnsafePointer<Float>, values: UnsafePointer<Float>) {
        (keys[layer], values[layer])
    }
}

private struct Layer {
    let keys: UnsafePointer<Float>
    let values: UnsafePointer<Float>
    let length: Int
}

private func layer(
    _ index: Int, _ file: Safetensors, _ shape: AttentionShape, _ path: String
) throws -> Layer {
    let name = "transformer.layers.\(index).self_attn"
    guard let cache = file.entries[name + "/cache"] else { throw otherModel(path) }
    guard cache.shape.count == 5, cache.shape[0] == 2, cache.shape[1] == 1 else {
        throw damaged(path, "layer \(index) has a cache of the shape \(cache.shape)")
    }
    guard cache.shape[3] == shape.heads, cache.shape[4] == shape.width else { throw otherModel(path) }
    guard cache.dtype == "F32", UInt(bitPattern: cache.bytes.baseAddress) % 4 == 0 else {
        throw damaged(path, "its numbers are \(cache.dtype); export it with this version")
    }
    if let pad = file.entries[name + "/pad"], pad.bytes.contains(where: { $0 != 0 }) {
        throw damaged(path, "it was taken from a batch, with padding in front")
    }
    let length = try used(file, name, path)
    guard 0 < length, length <= cache.shape[2] else {
        throw damaged(path, "\(length) of \(cache.shape[2]) slots are said to be in use")
    }
    let floats = cache.bytes.bindMemory(to: Float.self).baseAddress!
    let half = cache.shape[2] * shape.heads * shape.width
    return Layer(keys: floats, values: floats + half, length: length)
}

private func used(_ file: Safetensors, _ name: String, _ path: String) throws -> Int {
    if let offset = file.entries[name + "/offset"], offset.dtype == "I64", offset.bytes.count == 8 {
        return Int(offset.bytes.number(Int64.self, at: 0))
    }
    if let end = file.entries[name + "/current_end"], let length = end.shape.first { return length }
    throw damaged(path, "\(name) has neither an offset nor a current_end")
}

private func otherModel(_ path: String) -> TTSError {
    .voice(
        "The voice \(path) was made for a model of another shape. Make it again with this model, or "
            + "choose the model it was made with.")
}

private func damaged(_ path: String, _ reason: String) -> TTSError {
    .voice("\(path) is no voice that can be used: \(reason). Copy or export it again.")
}
