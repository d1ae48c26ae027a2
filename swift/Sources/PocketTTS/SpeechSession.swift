/// Speech for text that arrives in pieces. Make one with ``TTSModel/session(voice:seed:options:onWord:)``.
///
/// ```swift
/// let session = try tts.session(voice: voice)
/// Task { for try await frame in session.frames { play(frame.samples) } }
/// for await piece in answer { try session.enqueue(piece) }
/// try session.finish()
/// ```
///
/// What is spoken does not depend on where the pieces begin and end. The first sentence is spoken as
/// soon as it has ended, the others are joined to longer chunks, as in a whole text.
public final class SpeechSession: Sendable {
    /// What is spoken, for one loop. It ends after `finish`.
    public let frames: SpeechStream

    private let state: State

    init(
        _ model: LoadedModel, _ voice: Voice, _ seed: UInt64, _ options: SpeechOptions,
        _ onWord: (@Sendable (SpokenWord) -> Void)?
    ) throws {
        let engine = model.engine
        let text = options.text
        guard !text.glueShortChunks else {
            throw TTSError.option(
                "glueShortChunks has to see what comes after a chunk, which a session does not wait "
                    + "for: set it to false, or use stream.")
        }
        _ = try TimeStretch(speed: options.speed, sampleRate: engine.manifest.audio.sampleRate)
        let sampling = try model.sampling(options, seed)
        if onWord != nil { try model.checkWordTimes() }
        let pipeline = try model.pipeline(text)
        let stream = try TextStream(pipeline, firstSentenceAtOnce: true)
        let state = State(pipeline, stream, timesWords: onWord != nil)
        self.state = state
        frames = SpeechStream(onWord: onWord) { buffer in
            startThread("pocket-tts session") {
                do {
                    try state.speak(engine, voice, sampling, options.speed, buffer)
                    buffer.finish()
                } catch {
                    buffer.finish(error)
                }
            }
        }
    }

    deinit { state.close() }

    /// Add text. Throws `TTSError.option` after `finish`.
    public func enqueue(_ piece: String) throws { try state.feed(piece.scalars) }

    /// Treat what was enqueued as whole: speak its rest without waiting for more.
    public func flush() throws { try state.flush() }

    /// Forget all text that was enqueued and not spoken yet, and stop speaking within two frames:
    /// the user has interrupted. Text that is enqueued afterwards is spoken.
    public func clear() { state.clear() }

    /// There is no more text: `frames` ends when all is spoken. Throws where it was called before.
    public func finish() throws { try state.finish() }

    /// What the session's owner and the thread that speaks share.
    private final class State: @unchecked Sendable {
        private let monitor = Monitor()
        private let pipeline: TextPipeline
        private let timesWords: Bool
        private var text: TextStream
        private var written = 0  // code points of all text that was enqueued
        private var pauses = PauseStream()
        private var items: [SpeechItem] = []
        private var first = 0  // chunk that `items` begin with, counted over the session
        private var epoch = 0  // of `clear`: what began before it is not spoken on
        private var finished = false
        private var closed = false
        private weak var generator: Generator?
        private weak var buffer: FrameBuffer?

        init(_ pipeline: TextPipeline, _ text: TextStream, timesWords: Bool) {
            (self.pipeline, self.text, self.timesWords) = (pipeline, text, timesWords)
        }

        func feed(_ piece: Scalars) throws {
            try changing {
                let piece = timesWords ? Traced(written: piece, from: written) : Traced(piece)
                written += piece.count
                try add(pipeline.options.pauses ? pauses.feed(piece) : [.text(piece)])
            }
        }

        func flush() throws {
            try changing {
                try add(pauses.flush())
                flushText()
            }
        }

        func finish() throws {
            try flush()
            monitor.locked {
                finished = true
                monitor.notify()
            }
        }

        func clear() {
            let running: Generator? = monitor.locked {
                text.clear()
                pauses = PauseStream()
                for case .chunk in items { first += 1 }
                items = []
                epoch += 1
                buffer?.clear()
                monitor.notify()
                return generator
            }
            running?.cancel()
        }

        func close() {
            let running: Generator? = monitor.locked {
                guard !finished else { return nil }  // its text is still to be spoken
                closed = true
                monitor.notify()
                return generator
            }
            running?.cancel()
        }

        /// Speak until the end; a new generator goes on where `clear` has stopped one.
        func speak(
            _ engine: Engine, _ voice: Voice, _ sampling: Sampling, _ speed: Double, _ buffer: FrameBuffer
        ) throws {
            monitor.locked { self.buffer = buffer }
            buffer.whenCancelled { [weak self] in self?.abandon() }
            while let (epoch, firstChunk) = begin() {
                let generator = try Generator(
                    engine, voice, sampling, firstChunk: firstChunk, timesWords: timesWords,
                    items: { self.next(epoch) })
                defer { generator.close() }
                monitor.locked { self.generator = generator }
                let rate = engine.manifest.audio.sampleRate
                try forward(generator, speed, rate, into: buffer) { self.isCurrent(epoch) }
            }
        }

        private func changing(_ change: () throws -> Void) throws {
            try monitor.locked {
                guard !finished else { throw TTSError.option("The session was finished: make a new one.") }
                defer { monitor.notify() }
                try change()
            }
        }

        private func add(_ segments: [Segment]) throws {
            for segment in segments {
                switch segment {
                case .text(let piece):
                    let chunks = text.feed(piece)
                    add(chunks, text.finder)
                case .pause(let seconds):
                    flushText()
                    items.append(pipeline.silence(seconds))
                }
            }
        }

        private func flushText() {
            let finder = text.finder  // of the text that ends
            add(text.flush(), finder)
        }

        private func add(_ chunks: [Scalars], _ finder: WordFinder?) {
            items += chunks.compactMap { try? pipeline.prompt($0, finder) }.map { .chunk($0) }
        }

        private func abandon() {
            let running: Generator? = monitor.locked {
                closed = true
                monitor.notify()
                return generator
            }
            running?.cancel()
        }

        /// Wait for something to speak; nil when there will be nothing.
        private func begin() -> (epoch: Int, firstChunk: Int)? {
            monitor.locked {
                while items.isEmpty && !finished && !closed { monitor.wait() }
                return items.isEmpty || closed ? nil : (epoch, first)
            }
        }

        /// The next chunk of an epoch, when there is one; nil at its end.
        private func next(_ epoch: Int) -> SpeechItem? {
            monitor.locked {
                while items.isEmpty && !finished && !closed && epoch == self.epoch { monitor.wait() }
                guard !items.isEmpty, !closed, epoch == self.epoch else { return nil }
                if case .chunk = items[0] { first += 1 }
                return items.removeFirst()
            }
        }

        private func isCurrent(_ epoch: Int) -> Bool { monitor.locked { epoch == self.epoch && !closed } }
    }
}
