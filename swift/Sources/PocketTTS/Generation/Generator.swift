/// Samples of one 80 ms frame (a pause or a stretched text may end in a shorter one).
public struct AudioFrame: Sendable, Equatable {
    /// Mono, full scale ±1, at ``TTSModel/sampleRate``.
    public let samples: [Float]
    /// The chunk of text that is spoken, counted from 0.
    public let chunk: Int
}

/// How one chunk ended.
public struct ChunkReport: Sendable, Equatable {
    /// Counted from 0.
    public let index: Int
    public let text: String
    /// Number of token ids.
    public let tokens: Int
    /// Frames spoken.
    public let frames: Int
    /// False where the chunk ran into its limit of frames: words may be missing or repeated.
    public let ended: Bool
}

/// The streaming loop: items of speech in, frames out.
///
/// A thread makes latents, chunk by chunk, into a bounded queue; the caller's thread decodes them,
/// 1, 1, 2, then 4 at a time. The schedule counts frames and not what the queue happens to hold, so
/// that the same seed gives the same samples. The first frame leaves after one step and one decoder
/// call, which have the processor to themselves: the second step waits for them.
///
/// One thread asks for frames; `cancel` may be called from any.
final class Generator: @unchecked Sendable {
    private enum Message {
        case begin(words: [Word], tokens: Int)
        case latent([Float], Attention?)
        case silence(Int)
        case chunk(ChunkReport)
        case end
        case failure(any Error)
    }

    private let engine: Engine
    private let messages = BoundedQueue<Message>(capacity: 64)
    private let firstDecoded = Signal()
    private let producerEnded = Signal()
    private let onChunk: (ChunkReport) -> Void
    private let schedule: [Int]
    private let timbre: Timbre?
    private var shift: TimbreShift?  // of the chunk that is spoken
    private var shifted: [Float] = []  // not yet a whole frame
    private var decoder: MimiDecoder?
    private var pending: [(latent: [Float], attention: Attention?)] = []
    private var calls = 0
    private var chunk: Int
    private var closingReport: ChunkReport?
    private var ready: ArraySlice<(frame: AudioFrame, words: [SpokenWord])> = []
    private var timer: WordTimer?
    private var known: [SpokenWord] = []

    /// - Parameters:
    ///   - items: asked for on the thread that makes latents.
    ///   - firstChunk: index of the first chunk, which its noise depends on.
    ///   - timesWords: whether `takeWords` gives the words of the items.
    init(
        _ engine: Engine, _ voice: Voice, _ sampling: Sampling, firstChunk: Int = 0,
        timesWords: Bool = false,
        items: @escaping @Sendable () throws -> SpeechItem?,
        onChunk: @escaping (ChunkReport) -> Void = { _ in }
    ) throws {
        self.engine = engine
        self.onChunk = onChunk
        timbre = voice.timbre
        chunk = firstChunk
        schedule = engine.manifest.audio.decoderSchedule
        let rate = engine.manifest.audio.sampleRate
        timer = timesWords ? WordTimer(sampleRate: rate, pace: voice.timbre?.pace ?? 1) : nil
        let (messages, firstDecoded, producerEnded) = (messages, firstDecoded, producerEnded)
        startThread("pocket-tts latents") {
            defer { producerEnded.set() }
            var index = firstChunk
            do {
                while let item = try items() {
                    switch item {
                    case .silence(let samples): messages.put(.silence(samples))
                    case .chunk(let prompt):
                        messages.put(.begin(words: prompt.words, tokens: prompt.ids.count))
                        let report = try Generator.speak(
                            engine, voice, prompt, index, sampling, timesWords, messages, firstDecoded)
                        guard let report else { return }
                        messages.put(.chunk(report))
                        index += 1
                    }
                    if messages.isClosed { return }
                }
                messages.put(.end)
            } catch {
                messages.put(.failure(error))
            }
        }
        decoder = try engine.takeDecoder()  // ready before its latents are
    }

    deinit { close() }

    /// The words that have become known with the frames so far, each once: their times are those of
    /// the frames' samples.
    func takeWords() -> [SpokenWord] {
        defer { known = [] }
        return known
    }

    /// The next frame; nil at the end, and after `close`.
    func next() throws -> AudioFrame? {
        while ready.isEmpty {
            if closingReport != nil {
                if !pending.isEmpty {
                    try decode(pending.count)
                } else if var rest = shift {
                    shifted += rest.finish()
                    shift = nil
                    ready = shiftedFrames(toTheEnd: true)[...]
                } else {
                    finishChunk()
                }
                continue
            }
            guard let message = messages.take() else { return nil }
            switch message {
            case .begin(let words, let tokens): timer?.begin(chunk, words, tokens: tokens)
            case .latent(let latent, let attention):
                pending.append((latent, attention))
                let wanted = schedule[min(calls, schedule.count - 1)]
                if pending.count >= wanted { try decode(wanted) }
            case .silence(let samples): ready = silence(samples)[...]
            case .chunk(let report): closingReport = report
            case .end: return nil
            case .failure(let error): throw error
            }
        }
        let next = ready.removeFirst()
        known += next.words
        return next.frame
    }

    /// Stop, from any thread: `next` returns nil, and no work goes on within a frame's time.
    func cancel() {
        messages.close()
        firstDecoded.set()
    }

    /// Stop, and wait for the thread that makes latents.
    func close() {
        cancel()
        producerEnded.wait()
    }

    private func decode(_ most: Int) throws {
        // At the end of a chunk fewer are left: the largest call that they fill.
        let wanted = schedule[min(calls, schedule.count - 1)]
        let size = schedule.filter { $0 <= min(wanted, most) }.max() ?? 1
        let decoder = try self.decoder ?? engine.takeDecoder()
        self.decoder = decoder
        let steps = pending.prefix(size)
        var samples = try decoder.decode(steps.map(\.latent))
        pending.removeFirst(size)
        firstDecoded.set()
        if calls == 0 { fadeIn(&samples, engine.manifest.audio.fadeInSamples) }
        calls += 1
        let length = samples.count / size
        let frames = steps.enumerated().map { i, step in
            let frame = AudioFrame(samples: Array(samples[i * length..<(i + 1) * length]), chunk: chunk)
            return (frame: frame, words: step.attention.flatMap { timer?.hear(frame.samples, $0) } ?? [])
        }
        ready = timbre == nil ? frames[...] : inTimbre(frames)[...]
    }

    /// What the frames complete in the timbre of the voice, about 120 ms later.
    private func inTimbre(
        _ frames: [(frame: AudioFrame, words: [SpokenWord])]
    ) -> [(frame: AudioFrame, words: [SpokenWord])] {
        if shift == nil { shift = timbre.map(TimbreShift.init) }
        for (frame, words) in frames {
            shifted += shift?.push(frame.samples) ?? []
            known += words
        }
        return shiftedFrames()
    }

    /// The last frame of a chunk may be shorter.
    private func shiftedFrames(
        toTheEnd: Bool = false
    ) -> [(frame: AudioFrame, words: [SpokenWord])] {
        let size = engine.manifest.audio.frameSize
        let ready = toTheEnd ? shifted.count : shifted.count / size * size
        defer { shifted.removeFirst(ready) }
        return stride(from: 0, to: ready, by: size).map { start in
            let samples = Array(shifted[start..<min(start + size, ready)])
            return (AudioFrame(samples: samples, chunk: chunk), [])
        }
    }

    private func finishChunk() {
        guard let report = closingReport else { return }
        closingReport = nil
        calls = 0
        if let decoder { engine.giveDecoder(decoder) }
        decoder = nil
        chunk = report.index + 1
        known += timer?.end() ?? []
        onChunk(report)
    }

    private func silence(_ samples: Int) -> [(frame: AudioFrame, words: [SpokenWord])] {
        timer?.pause(samples)
        return stride(from: 0, to: samples, by: engine.manifest.audio.frameSize).map { start in
            let count = min(engine.manifest.audio.frameSize, samples - start)
            return (AudioFrame(samples: [Float](repeating: 0, count: count), chunk: chunk), [])
        }
    }

    /// All latents of one chunk into the queue; nil if stopped.
    private static func speak(
        _ engine: Engine, _ voice: Voice, _ prompt: Prompt, _ index: Int, _ sampling: Sampling,
        _ timesWords: Bool, _ messages: BoundedQueue<Message>, _ firstDecoded: Signal
    ) throws -> ChunkReport? {
        let noise = Noise(
            seed: sampling.seed, chunk: index, temperature: sampling.temperature,
            clamp: sampling.noiseClamp)
        let latents = try engine.flowLM.start(voice, prompt.ids, flowSteps: sampling.flowSteps)
        var policy = EosPolicy(
            threshold: sampling.eosThreshold,
            tail: sampling.framesAfterEos ?? prompt.framesAfterEos,
            framesBefore: engine.manifest.generation.framesBeforeEos)
        func report(_ frames: Int, _ ended: Bool) -> ChunkReport {
            ChunkReport(
                index: index, text: prompt.text, tokens: prompt.ids.count, frames: frames, ended: ended)
        }
        for frame in 0..<prompt.maxFrames {
            let draw = noise.frames(frame, 1, width: engine.flowLM.latentWidth)
            let (latent, logit) = try latents.step(noise: draw[...])
            guard logit.isFinite else {
                throw TTSError.generation(
                    "The model gave a value that is not finite in chunk \(index), frame \(frame). Its "
                        + "files or the voice are damaged.")
            }
            if policy.ends(frame, logit) { return report(frame, true) }
            let attention = timesWords ? try latents.attention() : nil
            guard messages.put(.latent(latent, attention)) else { return nil }
            firstDecoded.wait()
        }
        return report(prompt.maxFrames, policy.eosFrame != nil)
    }
}

/// A fresh decoder starts with a small step, heard as a click: the first samples fade in.
func fadeIn(_ samples: inout [Float], _ length: Int) {
    let count = min(length, samples.count)
    for i in 0..<count { samples[i] *= Float(Double(i) / Double(max(length - 1, 1))) }
}
