import Foundation

/// One exported model in memory: computes latents and samples. Threads share it; calls take turns.
final class Engine: @unchecked Sendable {
    let folder: ModelFolder
    let flowLM: FlowLM
    private let mimi: CompiledModel
    private let threads: Int
    private let cache: WeightCache
    private let turns = Turns()
    private let decoders = Spare<MimiDecoder>()
    private let encoderLock = Monitor()
    private var encoder: CompiledModel?

    /// - Parameters:
    ///   - threads: how many threads compute at any time, over all sessions.
    init(_ folder: ModelFolder, threads: Int, cache: WeightCache) throws {
        guard threads >= 1 else { throw TTSError.option("threads must be 1 or more, got \(threads).") }
        self.folder = folder
        self.threads = threads
        self.cache = cache
        flowLM = try FlowLM(
            loadGroups("flow_lm.tflite", folder, threads, cache, turns), folder.manifest)
        mimi = try load("mimi_decoder.tflite", folder, threads, cache, turns)
        decoders.give(try MimiDecoder(mimi, stepsPerFrame: manifest.audio.stepsPerFrame))
    }

    var manifest: Manifest { folder.manifest }

    /// Whether the export has an encoder for recordings.
    var canClone: Bool { folder.has("mimi_encoder.tflite") }

    /// A decoder at the beginning of a chunk. Give it back when the chunk has ended.
    func takeDecoder() throws -> MimiDecoder {
        let decoder =
            try decoders.take() ?? MimiDecoder(mimi, stepsPerFrame: manifest.audio.stepsPerFrame)
        decoder.reset()
        return decoder
    }

    func giveDecoder(_ decoder: MimiDecoder) { decoders.give(decoder) }

    /// Latents [frames, width] of a recording at the model's rate. Throws `TTSError.voice` for an
    /// export without an encoder.
    func encode(_ audio: [Float]) throws -> [Float] {
        guard canClone else {
            throw TTSError.voice(
                "\(folder.path) has no encoder for recordings: export the model with --with-encoder, "
                    + "or use one of its voices.")
        }
        let model = try encoderLock.locked {
            let model = try encoder ?? load("mimi_encoder.tflite", folder, threads, cache, turns)
            encoder = model
            return model
        }
        return try PocketTTS.encode(model, manifest.audio, audio)
    }

    /// Free the models. What still speaks throws `TTSError.generation` at its next call.
    func close() {
        flowLM.model.close()
        mimi.close()
        encoderLock.locked { encoder?.close() }
    }
}

/// FlowLM, with the signatures of the smallest caches opened.
private func loadGroups(
    _ name: String, _ folder: ModelFolder, _ threads: Int, _ cache: WeightCache, _ turns: Turns
) throws -> GroupedModel {
    let path = try folder.file(name)
    let entry = folder.manifest.files[name]!
    let smallest = "c\(folder.manifest.cache.capacities.min() ?? 0)"
    return try GroupedModel(
        path, sha256: entry.sha256, size: entry.size, cache: cache, first: "embed_text",
        groupOf: { signature in
            let parts = signature.split(separator: "_")  // decode_1_c256, decode_1_c256_b4
            return parts.count < 3 ? smallest : parts[2...].joined(separator: "_")
        },
        compile: { names, packed in try compile(path, names, threads, packed, turns) })
}

/// One side of Mimi, without the signatures that are not called here.
private func load(
    _ name: String, _ folder: ModelFolder, _ threads: Int, _ cache: WeightCache, _ turns: Turns
) throws -> CompiledModel {
    let path = try folder.file(name)
    let entry = folder.manifest.files[name]!
    let names = Set(try GraphFile(MappedFile(path)).signatureNames().filter(isUsed))
    return try cache.model(sha256: entry.sha256, size: entry.size) { packed, whole in
        try compile(path, whole ? nil : names, threads, packed, turns)
    }
}

private func compile(
    _ path: String, _ names: Set<String>?, _ threads: Int, _ packed: String, _ turns: Turns
) throws -> CompiledModel {
    let file = try MappedFile(path, writable: names != nil)
    if let names { try GraphFile(file).keep(names) }
    return try CompiledModel(file, threads: threads, weightCache: packed, turns: turns)
}
