import CRingIndex

/// Samples between the task that makes them and the audio thread that plays them.
///
/// One thread writes (`write`, `finish`, `discard`, `rewind`), one audio thread reads. Reading takes
/// no lock and no memory. Playing begins when `prebuffer` samples are there, or all of them; where
/// the writer falls behind, silence is played until as many are there again. The last samples that
/// were read are kept: what an output that went away did not play can be played again.
public final class PlaybackBuffer: @unchecked Sendable {
    private let samples: UnsafeMutablePointer<Float>
    private let capacity: Int
    private let prebuffer: Int
    private let history: Int
    // Positions in the stream, which only grow (but for `rewind`, while nobody reads).
    private let written = counter()
    private let read = counter()
    private let dropped = counter()  // the reader skips to here
    private let end = counter(-1)  // length of the stream, once it is known
    private var isPlaying = false  // the reader's alone

    /// - Parameters:
    ///   - capacity: most samples that wait to be played.
    ///   - prebuffer: samples that must be there before playing begins.
    ///   - history: samples that can be played again.
    public init(capacity: Int, prebuffer: Int, history: Int) {
        precondition(0 <= prebuffer && prebuffer <= capacity && history >= 0)
        self.capacity = capacity + history
        (self.prebuffer, self.history) = (prebuffer, history)
        samples = .allocate(capacity: capacity + history)
        samples.initialize(repeating: 0, count: capacity + history)
    }

    deinit {
        samples.deallocate()
        for index in [written, read, dropped, end] { index.deallocate() }
    }

    /// Samples that wait to be played.
    public var waiting: Int {
        Int(ring_index_load(written) - max(ring_index_load(read), ring_index_load(dropped)))
    }

    /// Whether everything was read, and nothing more will come.
    public var isDrained: Bool {
        let end = ring_index_load(end)
        return end >= 0 && max(ring_index_load(read), ring_index_load(dropped)) >= end
    }

    /// Put in as many samples as there is room for; returns how many.
    public func write(_ new: ArraySlice<Float>) -> Int {
        let start = Int(ring_index_load(written))
        let used = start - Int(ring_index_load(read)) + history
        let count = min(new.count, max(capacity - used, 0))
        for i in 0..<count { samples[(start + i) % capacity] = new[new.startIndex + i] }
        ring_index_store(written, Int64(start + count))
        return count
    }

    /// Nothing more will come: what is there is played to its end.
    public func finish() { ring_index_store(end, ring_index_load(written)) }

    /// Forget what waits to be played. More can be written afterwards.
    public func discard() {
        ring_index_store(dropped, ring_index_load(written))
        ring_index_store(end, -1)
    }

    /// Play the last `count` samples again (as far as they are kept). Only while nobody reads: the
    /// output has gone away.
    public func rewind(_ count: Int) {
        let position = ring_index_load(read)
        let kept = max(position - Int64(min(count, history)), ring_index_load(dropped))
        ring_index_store(read, max(kept, ring_index_load(written) - Int64(capacity), 0))
        isPlaying = false
    }

    /// The next `count` samples, silence where there are none. Returns how many there were.
    ///
    /// For the audio thread.
    @discardableResult
    public func read(into output: UnsafeMutablePointer<Float>, count: Int) -> Int {
        let position = max(ring_index_load(read), ring_index_load(dropped))
        // The end before what was written: a stream that has ended is whole.
        let isWhole = ring_index_load(end) >= 0
        let available = Int(ring_index_load(written) - position)
        if !isPlaying { isPlaying = available > 0 && (available >= prebuffer || isWhole) }
        let taken = isPlaying ? min(count, available) : 0
        for i in 0..<taken { output[i] = samples[(Int(position) + i) % capacity] }
        for i in taken..<max(count, taken) { output[i] = 0 }
        if taken == available { isPlaying = false }
        ring_index_store(read, position + Int64(taken))
        return taken
    }
}

private func counter(_ value: Int64 = 0) -> UnsafeMutablePointer<Int64> {
    let pointer = UnsafeMutablePointer<Int64>.allocate(capacity: 1)
    pointer.initialize(to: value)
    return pointer
}
