/// Speech as a sequence of frames of 80 ms, each as soon as it is made.
///
/// Making begins when the first frame is asked for. It stops within two frames when the task is
/// cancelled, which throws `CancellationError`, and when the loop is left. A loop that is slower
/// than the model holds it up: no more than a few seconds are made ahead.
public struct SpeechStream: AsyncSequence, Sendable {
    public typealias Element = AudioFrame

    /// Is told of each word, by the task that takes the frames; nil where no words are wanted.
    let onWord: (@Sendable (SpokenWord) -> Void)?
    /// Fills the buffer, on a thread of its own.
    let make: @Sendable (FrameBuffer) -> Void

    public func makeAsyncIterator() -> Iterator {
        let buffer = FrameBuffer()
        return Iterator(buffer: buffer, onWord: onWord, start: { [make] in make(buffer) })
    }

    /// One run of the stream.
    public final class Iterator: AsyncIteratorProtocol {
        private let buffer: FrameBuffer
        private let onWord: (@Sendable (SpokenWord) -> Void)?
        private var start: (() -> Void)?

        init(buffer: FrameBuffer, onWord: (@Sendable (SpokenWord) -> Void)?, start: (() -> Void)?) {
            (self.buffer, self.onWord, self.start) = (buffer, onWord, start)
        }

        deinit { buffer.cancel() }

        public func next() async throws -> AudioFrame? {
            start?()
            start = nil
            while let (frame, words) = try await buffer.next() {
                if let onWord { words.forEach(onWord) }
                if !frame.samples.isEmpty { return frame }
            }
            return nil
        }
    }
}

/// A whole text, spoken.
public struct Speech: Sendable {
    /// Mono, full scale ±1.
    public let samples: [Float]
    /// Samples per second.
    public let sampleRate: Int
    /// The seed that gives these samples again.
    public let seed: UInt64
    /// How each chunk of the text ended.
    public let chunks: [ChunkReport]
    /// The words of the text with their times, in order; empty where they were not asked for.
    public let words: [SpokenWord]

    /// Seconds of speech.
    public var duration: Double { Double(samples.count) / Double(sampleRate) }
}
