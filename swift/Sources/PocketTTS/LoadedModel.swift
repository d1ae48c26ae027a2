import Foundation

/// A model with its tokenizer and voices: what the package's interfaces have in common. Its calls
/// block.
final class LoadedModel: Sendable {
    let engine: Engine
    let tokenizer: any Tokenizer
    private let voices = Voices()

    /// Throws `TTSError.folder`, `TTSError.tokenizer`.
    init(_ folder: URL, _ options: ModelOptions) throws {
        let opened = try ModelFolder(folder)
        let cache = options.cacheFolder?.path
        try VerifiedFiles(folder: cache).verify(opened, options.check)
        tokenizer = try openTokenizer(opened)
        engine = try Engine(opened, threads: options.threads, cache: WeightCache(folder: cache))
    }

    /// A voice of the model; nil is the default one. Throws `TTSError.voice`.
    func voice(_ name: String?) throws -> Voice {
        let manifest = engine.manifest
        guard let name = name ?? manifest.voices.default else {
            throw TTSError.voice("The model \(manifest.model) has no default voice: name one.")
        }
        guard manifest.voices.names.contains(name) else {
            let known = manifest.voices.names.isEmpty ? "none" : manifest.voices.names.joined(separator: ", ")
            throw TTSError.voice("The model \(manifest.model) has no voice \(name). It has \(known).")
        }
        return try voices.get(name) {
            try readVoice(try engine.folder.file("voices/\(name).safetensors"), engine)
        }
    }

    /// Throws `TTSError.text`, `TTSError.option` for what the model cannot do.
    func pipeline(_ options: TextOptions) throws -> TextPipeline {
        try TextPipeline(tokenizer, engine.manifest, options)
    }

    /// Throws `TTSError.option` for a model whose export does not say which attention follows the text.
    func checkWordTimes() throws {
        guard let heads = engine.manifest.alignment?.heads, !heads.isEmpty else {
            throw TTSError.option(
                "The model \(engine.manifest.model) cannot time words: its manifest names no attention "
                    + "heads. Export it again, or leave words and onWord out.")
        }
    }

    func sampling(_ options: SpeechOptions, _ seed: UInt64) throws -> Sampling {
        try Sampling(options, seed: seed, engine.manifest.generation, engine.flowLM.flowSteps)
    }

    /// Throws `TTSError` where there is nothing to speak, or for options out of range.
    func generator(
        _ items: some Sequence<SpeechItem>, _ voice: Voice, _ seed: UInt64, _ options: SpeechOptions,
        timesWords: Bool = false, _ onChunk: @escaping (ChunkReport) -> Void
    ) throws -> Generator {
        let items = Items(AnyIterator(items.makeIterator()))
        return try Generator(
            engine, voice, sampling(options, seed), timesWords: timesWords, items: items.next,
            onChunk: onChunk)
    }
}

/// An iterator that one thread at a time asks.
private final class Items: @unchecked Sendable {
    private let items: AnyIterator<SpeechItem>
    init(_ items: AnyIterator<SpeechItem>) { self.items = items }
    func next() -> SpeechItem? { items.next() }
}

/// The voices that were asked for by name.
private final class Voices: @unchecked Sendable {
    private let monitor = Monitor()
    private var loaded: [String: Voice] = [:]

    func get(_ name: String, _ load: () throws -> Voice) throws -> Voice {
        try monitor.locked {
            if let voice = loaded[name] { return voice }
            let voice = try load()
            loaded[name] = voice
            return voice
        }
    }
}
