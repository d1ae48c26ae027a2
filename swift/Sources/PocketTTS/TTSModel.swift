import Foundation

/// How a model is loaded.
public struct ModelOptions: Sendable {
    /// When the files are hashed and compared with the manifest; their sizes always are.
    public enum Check: Sendable {
        /// At the first loading, and again when a file's size or time has changed.
        case once
        case always
        case never
    }

    /// Threads that compute at any time, over all tasks.
    public var threads = 2
    public var check = Check.once
    /// Where packed weights are kept between launches (about the size of the model), and what was
    /// checked is noted. Nil keeps nothing: loading then takes longer, and more memory.
    public var cacheFolder: URL? = ModelOptions.defaultCacheFolder

    public init() {}

    /// `pocket-tts` in the user's cache folder.
    public static var defaultCacheFolder: URL? {
        FileManager.default.urls(for: .cachesDirectory, in: .userDomainMask).first?
            .appendingPathComponent("pocket-tts")
    }
}

/// A text to speech model in memory. Any number of tasks may speak with it at once: they share its
/// weights, and its computing threads in turns.
///
/// ```swift
/// let tts = try await TTSModel(folder: url)
/// for try await frame in tts.stream("Hello!", voice: "joe") { play(frame.samples) }
/// ```
public actor TTSModel {
    nonisolated let loaded: LoadedModel
    private nonisolated var engine: Engine { loaded.engine }

    /// Load the folder that `python -m exporters.tflite` wrote.
    ///
    /// Throws `TTSError.folder` for a folder that is damaged or of another format, and
    /// `TTSError.tokenizer`. The work is done on a thread of its own.
    public init(folder: URL, options: ModelOptions = ModelOptions()) async throws {
        loaded = try await onThread { try LoadedModel(folder, options) }
    }

    /// Name of the model.
    public nonisolated var name: String { engine.manifest.model }

    /// Precision of the weights: fp32, fp16, int8, mixed or int4.
    public nonisolated var precision: String { engine.manifest.precision }

    /// Numbers in the model's weights; nil for an export that does not say it.
    public nonisolated var parameterCount: Int? { engine.manifest.parameters }

    /// ISO 639-1 codes of what the model speaks; the first is the default.
    public nonisolated var languages: [String] { engine.manifest.languages }

    /// Samples per second of all audio in and out of the model (24,000).
    public nonisolated var sampleRate: Int { engine.manifest.audio.sampleRate }

    /// How often the flow head can run per frame; the first is the default.
    public nonisolated var flowSteps: [Int] { engine.manifest.generation.flowSteps }

    /// Whether a recording can be a voice.
    public nonisolated var canClone: Bool { engine.canClone }

    /// Names of the voices that come with the model.
    public nonisolated var voiceNames: [String] { engine.manifest.voices.names }

    /// The voice that speaks where none is named; nil for a model that has none.
    public nonisolated var defaultVoice: String? { engine.manifest.voices.default }

    /// The words of a text that the model would leave out: a model that reads English letters only
    /// has no sound for those of other scripts. An accent is no reason.
    ///
    /// Throws `TTSError.text` and `TTSError.option` for options that the model does not have.
    public nonisolated func wordsLeftOut(
        of text: String, options: TextOptions = TextOptions()
    ) throws -> [String] {
        try loaded.pipeline(options).leftOut(text)
    }

    /// Speak a text with one of the model's voices (nil takes the default one).
    ///
    /// The same seed and options give the same samples; nil draws a seed. Errors (`TTSError`) are
    /// thrown from the loop over the frames. `onChunk` is called on the model's thread when a
    /// chunk's last frame has been made.
    ///
    /// `onWord` is called with each word of the text and its time, in order: in the loop, before the
    /// frame with which the time is known, which is at most 0.5 s of audio after the word's end
    /// (at ``SpeechOptions/speed`` 1). Words that the model has no sound for are left out. A model
    /// whose manifest names no attention heads throws `TTSError.option`.
    public nonisolated func stream(
        _ text: String, voice: String? = nil, seed: UInt64? = nil,
        options: SpeechOptions = SpeechOptions(),
        onChunk: @escaping @Sendable (ChunkReport) -> Void = { _ in },
        onWord: (@Sendable (SpokenWord) -> Void)? = nil
    ) -> SpeechStream {
        stream(text, seed ?? .random(in: 0...(.max)), options, onChunk, onWord) {
            try self.loaded.voice(voice)
        }
    }

    /// Speak a text with a voice that was prepared before.
    public nonisolated func stream(
        _ text: String, voice: Voice, seed: UInt64? = nil,
        options: SpeechOptions = SpeechOptions(),
        onChunk: @escaping @Sendable (ChunkReport) -> Void = { _ in },
        onWord: (@Sendable (SpokenWord) -> Void)? = nil
    ) -> SpeechStream {
        stream(text, seed ?? .random(in: 0...(.max)), options, onChunk, onWord) { voice }
    }

    /// Speak a whole text, and time its words where `words` is true. Throws `TTSError`, and
    /// `CancellationError` when the task is cancelled.
    public nonisolated func synthesize(
        _ text: String, voice: String? = nil, seed: UInt64? = nil,
        options: SpeechOptions = SpeechOptions(), words: Bool = false
    ) async throws -> Speech {
        let voice = try await onThread { try self.loaded.voice(voice) }
        return try await synthesize(text, voice: voice, seed: seed, options: options, words: words)
    }

    /// Speak a whole text with a voice that was prepared before.
    public nonisolated func synthesize(
        _ text: String, voice: Voice, seed: UInt64? = nil, options: SpeechOptions = SpeechOptions(),
        words: Bool = false
    ) async throws -> Speech {
        let seed = seed ?? .random(in: 0...(.max))
        let (reports, spoken) = (Collected<ChunkReport>(), Collected<SpokenWord>())
        let frames = stream(
            text, voice: voice, seed: seed, options: options, onChunk: reports.add,
            onWord: words ? spoken.add : nil)
        var samples: [Float] = []
        for try await frame in frames { samples += frame.samples }
        return Speech(
            samples: samples, sampleRate: sampleRate, seed: seed, chunks: reports.all, words: spoken.all)
    }

    /// A session for text that arrives in pieces, such as a language model's answer.
    ///
    /// `onWord` is that of ``stream(_:voice:seed:options:onChunk:onWord:)``: times count the audio of
    /// the whole session, and characters all text that was enqueued. What ``SpeechSession/clear()``
    /// drops counts as text, but not as audio.
    ///
    /// Throws `TTSError` for options that the model cannot follow.
    public nonisolated func session(
        voice: Voice, seed: UInt64? = nil, options: SpeechOptions = SpeechOptions(),
        onWord: (@Sendable (SpokenWord) -> Void)? = nil
    ) throws -> SpeechSession {
        try SpeechSession(loaded, voice, seed ?? .random(in: 0...(.max)), options, onWord)
    }

    /// A voice that comes with the model. Throws `TTSError.voice`.
    public nonisolated func prepareVoice(named name: String) async throws -> Voice {
        try await onThread { try self.loaded.voice(name) }
    }

    /// A voice from a `.safetensors` file that was made for this model. Throws `TTSError.voice`.
    public nonisolated func prepareVoice(file: URL) async throws -> Voice {
        try await onThread { try readVoice(file.path, self.engine) }
    }

    /// A voice from a recording: mono samples, full scale ±1, of 5 to 30 seconds of clear speech.
    ///
    /// Its first 30 seconds are used, up to the last word. Throws `TTSError.voice` for silence, for
    /// less than 80 ms, and for a model without an encoder.
    public nonisolated func prepareVoice(recording: [Float], sampleRate: Int) async throws -> Voice {
        try await onThread { try cloneVoice(recording, sampleRate, self.engine) }
    }

    /// Hash every file of the folder and compare it with the manifest. Throws `TTSError.folder`.
    public nonisolated func check() async throws {
        try await onThread { try self.engine.folder.verify() }
    }

    /// Free the model. What still speaks throws; so does every later call.
    public nonisolated func unload() { engine.close() }

    private nonisolated func stream(
        _ text: String, _ seed: UInt64, _ options: SpeechOptions,
        _ onChunk: @escaping @Sendable (ChunkReport) -> Void,
        _ onWord: (@Sendable (SpokenWord) -> Void)?, _ voice: @escaping @Sendable () throws -> Voice
    ) -> SpeechStream {
        SpeechStream(onWord: onWord) { buffer in
            let words = onWord != nil
            startThread("pocket-tts audio") {
                do {
                    if words { try self.loaded.checkWordTimes() }
                    let items = try self.loaded.pipeline(options.text).items(text, words: words)
                    let generator = try self.loaded.generator(
                        items, try voice(), seed, options, timesWords: words, onChunk)
                    buffer.whenCancelled { [weak generator] in generator?.cancel() }
                    defer { generator.close() }
                    try forward(generator, options.speed, self.sampleRate, into: buffer) { true }
                    buffer.finish()
                } catch {
                    buffer.finish(error)
                }
            }
        }
    }
}

/// All frames and words of a generator into a buffer behind what is in it, at another pace where one
/// is asked for. Stops where `goesOn` is false.
func forward(
    _ generator: Generator, _ speed: Double, _ rate: Int, into buffer: FrameBuffer, while goesOn: () -> Bool
) throws {
    var stretch = try TimeStretch(speed: speed, sampleRate: rate)
    let begin = Double(buffer.samples) / Double(rate)
    var chunk = 0
    func put(_ samples: [Float]) -> Bool {
        let words = generator.takeWords().map { $0.heard(atSpeed: speed, after: begin) }
        return goesOn() && buffer.put(AudioFrame(samples: samples, chunk: chunk), words)
    }
    while goesOn(), let frame = try generator.next() {
        chunk = frame.chunk
        guard put(stretch.push(frame.samples)) else { return }
    }
    _ = put(stretch.finish())
}

/// Run blocking work on a thread of its own.
func onThread<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        startThread("pocket-tts") { continuation.resume(with: Result(catching: work)) }
    }
}

/// What a callback is given, for after the speech.
private final class Collected<Element: Sendable>: @unchecked Sendable {
    private let monitor = Monitor()
    private var elements: [Element] = []
    @Sendable func add(_ element: Element) { monitor.locked { elements.append(element) } }
    var all: [Element] { monitor.locked { elements } }
}
