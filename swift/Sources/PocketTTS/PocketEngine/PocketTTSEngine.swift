import Foundation

/// Version of this package.
public func version() -> String { "1.0.0" }

/// The voices of a model folder, by index. Throws `ModelLoadFailed`, `InvalidVoice`.
public func availableVoices(modelPath: String) throws -> [PocketVoiceInfo] {
    try translated(PocketTTSError.ModelLoadFailed) {
        let folder = try ModelFolder(URL(fileURLWithPath: modelPath))
        return try folder.manifest.voices.names.enumerated().map { index, name in
            let about = try Safetensors(folder.file("voices/\(name).safetensors")).metadata
            return PocketVoiceInfo(
                index: UInt32(index), name: name, gender: about["gender"] ?? "unknown",
                description: about["description"] ?? "")
        }
    }
}

/// The engine that apps with the Rust engine know: calls that block, for threads of the app's own.
///
/// Any number of threads may call it; `cancel` ends what other threads are speaking. New code is
/// better off with ``TTSModel``.
public final class PocketTTSEngine: @unchecked Sendable {
    private let monitor = Monitor()
    private var model: LoadedModel?
    private var config = TTSConfig()
    private var reference: Voice?
    private var running: [ObjectIdentifier: Generator] = [:]
    private var cancels = 0  // a call that has not begun to speak when it is cancelled ends, too

    /// - Parameter modelPath: a folder that `python -m exporters.tflite` wrote.
    ///
    /// Throws `ModelLoadFailed`, `IoError`.
    public init(modelPath: String) throws {
        guard FileManager.default.fileExists(atPath: modelPath) else {
            throw PocketTTSError.IoError(message: "There is no folder \(modelPath).")
        }
        let model = try translated(PocketTTSError.ModelLoadFailed) {
            try LoadedModel(URL(fileURLWithPath: modelPath), ModelOptions())
        }
        self.model = model
        let steps = model.engine.manifest.generation.flowSteps
        if !steps.contains(Int(config.consistencySteps)) { config.consistencySteps = UInt32(steps[0]) }
    }

    /// Whether the model is loaded.
    public func isReady() -> Bool { monitor.locked { model != nil } }

    /// Name and precision of the model.
    public func modelVersion() throws -> String {
        let manifest = try loaded().engine.manifest
        return "\(manifest.model) (\(manifest.precision))"
    }

    /// Numbers in the model's weights. Throws `ModelLoadFailed` for an export that does not say it.
    public func parameterCount() throws -> UInt64 {
        guard let count = try loaded().engine.manifest.parameters, count > 0 else {
            throw PocketTTSError.ModelLoadFailed(
                message: "This export does not say how many parameters it has: export the model again.")
        }
        return UInt64(count)
    }

    /// Use these settings from the next call on. Throws `InvalidConfig`, `InvalidVoice`.
    public func configure(config: TTSConfig) throws {
        try config.validate()
        let steps = try loaded().engine.manifest.generation.flowSteps
        guard steps.contains(Int(config.consistencySteps)) else {
            throw PocketTTSError.InvalidConfig(
                message: "consistencySteps must be one of \(steps) for this model, got "
                    + "\(config.consistencySteps)")
        }
        _ = try voiceName(config.voiceIndex)
        monitor.locked { self.config = config }
    }

    /// The settings in use.
    public func getConfig() -> TTSConfig { monitor.locked { config } }

    /// Speak a text. A cancelled call returns what was spoken until then.
    public func synthesize(text: String) throws -> SynthesisResult {
        let (config, reference) = monitor.locked { (self.config, self.reference) }
        return try synthesize(text, config, reference)
    }

    /// Speak with another voice than the configured one, or than the reference audio.
    public func synthesizeWithVoice(text: String, voiceIndex: UInt32) throws -> SynthesisResult {
        var config = getConfig()
        config.voiceIndex = voiceIndex
        return try synthesize(text, config, nil)
    }

    /// Speak a text in pieces of 80 ms, as they are made.
    ///
    /// Calls the handler in this thread, and returns after `onComplete` or `onError`; after `cancel`
    /// it returns without either.
    public func startTrueStreaming(text: String, handler: any TTSEventHandler) throws {
        let rate = UInt32(try loaded().engine.manifest.audio.sampleRate)
        let (config, reference) = monitor.locked { (self.config, self.reference) }
        do {
            let cancelled = try speak(text, config, reference) { samples, progress in
                let data = samples.withUnsafeBytes { Data($0) }
                handler.onAudioChunk(chunk: AudioChunk(audioData: data, sampleRate: rate, isFinal: false))
                handler.onProgress(progress: progress)
            }
            if cancelled { return }
        } catch let error as PocketTTSError {
            handler.onError(message: error.message)
            return
        }
        handler.onAudioChunk(chunk: AudioChunk(audioData: Data(), sampleRate: rate, isFinal: true))
        handler.onProgress(progress: 1)
        handler.onComplete()
    }

    /// End every running call within two frames. Calls made afterwards are not touched.
    public func cancel() {
        let generators = monitor.locked {
            cancels += 1
            return Array(running.values)
        }
        for generator in generators { generator.cancel() }
    }

    /// Speak like this recording: mono float32 samples, little-endian.
    ///
    /// Throws `InvalidVoice` where the recording or the model does not allow it.
    public func setReferenceAudio(audioData: Data, sampleRate: UInt32) throws {
        let model = try loaded()
        guard audioData.count % 4 == 0, sampleRate > 0 else {
            throw PocketTTSError.InvalidVoice(
                message: "expected float32 samples and a rate above 0, got \(audioData.count) bytes at "
                    + "\(sampleRate) Hz")
        }
        let samples = floats(audioData)
        let voice = try translated(PocketTTSError.InvalidVoice) {
            try cloneVoice(samples, Int(sampleRate), model.engine)
        }
        monitor.locked { reference = voice }
    }

    /// Go back to the configured voice.
    public func clearReferenceAudio() { monitor.locked { reference = nil } }

    /// Float32 samples of `n` frames of float32 latents [n × width], a stream of its own.
    public func decodeLatents(latents: Data, n: UInt32) throws -> Data {
        let engine = try loaded().engine
        let (count, width) = (Int(n), engine.flowLM.latentWidth)
        guard count >= 1, latents.count == 4 * count * width else {
            throw PocketTTSError.InferenceFailed(
                message: "expected \(4 * count * width) bytes for \(n) frames of \(width) latents, got "
                    + "\(latents.count)")
        }
        let values = floats(latents)
        return try translated(PocketTTSError.InferenceFailed) {
            let decoder = try engine.takeDecoder()
            let frames = (0..<count).map { Array(values[$0 * width..<($0 + 1) * width]) }
            let samples = try decoder.decode(frames)
            engine.giveDecoder(decoder)
            return samples.withUnsafeBytes { Data($0) }
        }
    }

    /// Free the model. Every later call but this one and `isReady` throws `ModelNotLoaded`.
    public func unload() {
        cancel()
        let model: LoadedModel? = monitor.locked {
            defer { (self.model, reference) = (nil, nil) }
            return self.model
        }
        model?.engine.close()
    }

    private func loaded() throws -> LoadedModel {
        guard let model = monitor.locked({ self.model }) else {
            throw PocketTTSError.ModelNotLoaded(message: "The engine was unloaded: make a new one.")
        }
        return model
    }

    private func voiceName(_ index: UInt32) throws -> String {
        let names = try loaded().engine.manifest.voices.names
        guard Int(index) < names.count else {
            throw PocketTTSError.InvalidVoice(
                message: "voiceIndex \(index): this model has \(names.count) voices, counted from 0")
        }
        return names[Int(index)]
    }

    private func synthesize(_ text: String, _ config: TTSConfig, _ voice: Voice?) throws -> SynthesisResult {
        let rate = try loaded().engine.manifest.audio.sampleRate
        var samples: [Float] = []
        _ = try speak(text, config, voice) { piece, _ in samples += piece }
        return SynthesisResult(
            audioData: wavFile(samples, rate), sampleRate: UInt32(rate), channels: 1,
            durationSeconds: Double(samples.count) / Double(rate))
    }

    /// Pieces of the text with the share that has been spoken. Returns whether it was cancelled.
    private func speak(
        _ text: String, _ config: TTSConfig, _ voice: Voice?, _ take: ([Float], Float) -> Void
    ) throws -> Bool {
        let model = try loaded()
        let began = monitor.locked { cancels }
        let voice = try translated(PocketTTSError.InvalidVoice) {
            try voice ?? model.voice(voiceName(config.voiceIndex))
        }
        return try translated(PocketTTSError.InferenceFailed) {
            let options = speechOptions(config)
            let items = Array(try model.pipeline(options.text).items(text))
            guard !items.isEmpty else { throw nothingToSpeak }
            let seed = config.useFixedSeed ? config.seed : UInt64.random(in: 0...(.max))
            var spoken = 0
            let generator = try model.generator(items, voice, seed, options) { _ in spoken += 1 }
            let key = ObjectIdentifier(generator)
            let late = monitor.locked {
                running[key] = generator
                return cancels != began
            }
            defer {
                _ = monitor.locked { running.removeValue(forKey: key) }
                generator.close()
            }
            if late { return true }
            var stretch = try TimeStretch(
                speed: options.speed, sampleRate: model.engine.manifest.audio.sampleRate)
            while let frame = try generator.next() {
                let samples = stretch.push(frame.samples)
                if !samples.isEmpty { take(samples, Float(spoken) / Float(items.count)) }
            }
            if monitor.locked({ cancels != began }) { return true }
            let rest = stretch.finish()
            if !rest.isEmpty { take(rest, 1) }
            return false
        }
    }
}

extension PocketTTSError {
    /// The sentence.
    public var message: String {
        switch self {
        case .ModelNotLoaded(let text), .ModelLoadFailed(let text), .TokenizationFailed(let text),
            .InferenceFailed(let text), .InvalidVoice(let text), .InvalidConfig(let text),
            .AudioEncodingFailed(let text), .IoError(let text):
            return text
        }
    }
}

private func speechOptions(_ config: TTSConfig) -> SpeechOptions {
    var options = SpeechOptions()
    // From their decimal forms: 0.7 is not the Double nearest to the Float.
    options.temperature = Double("\(config.temperature)")
    options.speed = Double("\(config.speed)") ?? 1
    options.flowSteps = Int(config.consistencySteps)
    if config.topP < 1, config.temperature > 0, let topP = Double("\(config.topP)") {
        options.noiseClamp = inverseNormal((1 + topP) / 2) * (options.temperature ?? 0).squareRoot()
    }
    return options
}

private func floats(_ data: Data) -> [Float] {
    data.withUnsafeBytes { bytes in
        (0..<bytes.count / 4).map { Float(bitPattern: bytes.number(UInt32.self, at: 4 * $0)) }
    }
}

/// The package's errors as those of the interface.
private func translated<Value>(
    _ otherwise: (String) -> PocketTTSError, _ body: () throws -> Value
) throws -> Value {
    do {
        return try body()
    } catch let error as TTSError {
        switch error {
        case .text: throw PocketTTSError.TokenizationFailed(message: error.message)
        case .voice: throw PocketTTSError.InvalidVoice(message: error.message)
        case .option: throw PocketTTSError.InvalidConfig(message: error.message)
        default: throw otherwise(error.message)
        }
    }
}
