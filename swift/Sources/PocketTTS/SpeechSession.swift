/// Speech for text that arrives in pieces. Make one with ``TTSModel/session(voice:seed:options:)``.
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

    init(_ model: LoadedModel, _ voice: Voice, _ seed: UInt64, _ options: SpeechOptions) throws {
        let engine = model.engine
        let text = options.text
        guard !text.pauses, !text.glueShortChunks, options.speed == 1 else {
            throw TTSError.option("A session has no pauses, glueShortChunks or speed: use stream.")
        }
        let sampling = try model.sampling(options, seed)
        let pipeline = try model.pipeline(text)
        let state = State(pipeline, try TextStream(pipeline, firstSentenceAtOnce: true))
        self.state = state
        frames = SpeechStream { buffer in
            startThread("pocket-tts session") {
                do {
                    try state.speak(engine, voice, sampling, buffer)
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
        private var text: TextStream
        private var prompts: [Prompt] = []
        private var first = 0  // chunk that `prompts` begins with, counted over the session
        private var epoch = 0  // of `clear`: what began before it is not spoken on
        private var finished = false
        private var closed = false
        private weak var generator: Generator?
        private weak var buffer: FrameBuffer?

        init(_ pipeline: TextPipeline, _ text: TextStream) { (self.pipeline, self.text) = (pipeline, text) }

        func feed(_ piece: Scalars) throws {
            try changing { prompts += $0.feed(piece).compactMap { try? pipeline.prompt($0) } }
        }

        func flush() throws { try changing { prompts += $0.flush().compactMap { try? pipeline.prompt($0) } } }

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
                first += prompts.count
                prompts = []
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
        func speak(_ engine: Engine, _ voice: Voice, _ sampling: Sampling, _ buffer: FrameBuffer) throws {
            monitor.locked { self.buffer = buffer }
            buffer.whenCancelled { [weak self] in self?.abandon() }
            while let (epoch, firstChunk) = begin() {
                let generator = try Generator(
                    engine, voice, sampling, firstChunk: firstChunk, items: { self.next(epoch) })
                defer { generator.close() }
                monitor.locked { self.generator = generator }
                while isCurrent(epoch), let frame = try generator.next() {
                    guard isCurrent(epoch), buffer.put(frame) else { break }
                }
            }
        }

        private func changing(_ change: (inout TextStream) throws -> Void) throws {
            try monitor.locked {
                guard !finished else { throw TTSError.option("The session was finished: make a new one.") }
                try change(&text)
                monitor.notify()
            }
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
                while prompts.isEmpty && !finished && !closed { monitor.wait() }
                return prompts.isEmpty || closed ? nil : (epoch, first)
            }
        }

        /// The next chunk of an epoch, when there is one; nil at its end.
        private func next(_ epoch: Int) -> SpeechItem? {
            monitor.locked {
                while prompts.isEmpty && !finished && !closed && epoch == self.epoch { monitor.wait() }
                guard !prompts.isEmpty, !closed, epoch == self.epoch else { return nil }
                first += 1
                return .chunk(prompts.removeFirst())
            }
        }

        private func isCurrent(_ epoch: Int) -> Bool { monitor.locked { epoch == self.epoch && !closed } }
    }
}
