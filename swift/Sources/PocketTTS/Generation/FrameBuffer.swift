/// A frame, and the words whose times are known with it. The last words may come with no samples.
typealias TimedFrame = (frame: AudioFrame, words: [SpokenWord])

/// Frames on their way from the thread that makes them to the task that takes them.
///
/// It holds a few seconds at most: a thread that is ahead waits, so that a long text does not pile
/// up in memory.
final class FrameBuffer: @unchecked Sendable {
    private typealias Waiter = CheckedContinuation<TimedFrame?, any Error>
    private static let capacity = 32

    private let monitor = Monitor()
    private var frames: [TimedFrame] = []
    private var waiter: Waiter?
    private var end: Result<TimedFrame?, any Error>?
    private var count = 0
    private var cancelled = false
    private var onCancel: (@Sendable () -> Void)?

    /// Samples that were put and not dropped.
    var samples: Int { monitor.locked { count } }

    /// Waits while the buffer is full. False once nobody takes frames any more. Nothing is put where
    /// there are neither samples nor words.
    func put(_ frame: AudioFrame, _ words: [SpokenWord]) -> Bool {
        if frame.samples.isEmpty && words.isEmpty { return true }
        let frame = (frame, words)
        let (taken, waiter): (Bool, Waiter?) = monitor.locked {
            while frames.count >= FrameBuffer.capacity && !cancelled { monitor.wait() }
            guard !cancelled else { return (false, nil) }
            count += frame.0.samples.count
            guard let waiter = self.waiter else {
                frames.append(frame)
                return (true, nil)
            }
            self.waiter = nil
            return (true, waiter)
        }
        waiter?.resume(returning: frame)
        return taken
    }

    /// There are no more frames, because of an error if there is one.
    func finish(_ error: (any Error)? = nil) {
        let result: Result<TimedFrame?, any Error> = error.map { .failure($0) } ?? .success(nil)
        let waiter: Waiter? = monitor.locked {
            if end == nil { end = result }
            defer { self.waiter = nil }
            return self.waiter
        }
        waiter?.resume(with: result)
    }

    /// The next frame, nil at the end. Throws the maker's error, or `CancellationError`.
    func next() async throws -> TimedFrame? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (waiter: Waiter) in
                let result: Result<TimedFrame?, any Error>? = monitor.locked {
                    if cancelled { return .failure(CancellationError()) }
                    if !frames.isEmpty {
                        monitor.notify()
                        return .success(frames.removeFirst())
                    }
                    if let end { return end }
                    self.waiter = waiter
                    return nil
                }
                if let result { waiter.resume(with: result) }
            }
        } onCancel: {
            cancel()
        }
    }

    /// Drop the frames that nobody has taken.
    func clear() {
        monitor.locked {
            for dropped in frames { count -= dropped.frame.samples.count }
            frames.removeAll()
            monitor.notify()
        }
    }

    /// Nobody takes frames any more.
    func cancel() {
        let (waiter, handler): (Waiter?, (@Sendable () -> Void)?) = monitor.locked {
            guard !cancelled else { return (nil, nil) }
            cancelled = true
            frames.removeAll()
            monitor.notify()
            defer { (self.waiter, onCancel) = (nil, nil) }
            return (self.waiter, onCancel)
        }
        waiter?.resume(throwing: CancellationError())
        handler?()
    }

    /// What `cancel` calls; at once where it was called already.
    func whenCancelled(_ handler: @escaping @Sendable () -> Void) {
        let late = monitor.locked {
            if !cancelled { onCancel = handler }
            return cancelled
        }
        if late { handler() }
    }
}
