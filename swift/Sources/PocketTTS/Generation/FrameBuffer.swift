/// Frames on their way from the thread that makes them to the task that takes them.
///
/// It holds a few seconds at most: a thread that is ahead waits, so that a long text does not pile
/// up in memory.
final class FrameBuffer: @unchecked Sendable {
    private typealias Waiter = CheckedContinuation<AudioFrame?, any Error>
    private static let capacity = 32

    private let monitor = Monitor()
    private var frames: [AudioFrame] = []
    private var waiter: Waiter?
    private var end: Result<AudioFrame?, any Error>?
    private var cancelled = false
    private var onCancel: (@Sendable () -> Void)?

    /// Waits while the buffer is full. False once nobody takes frames any more.
    func put(_ frame: AudioFrame) -> Bool {
        let (taken, waiter): (Bool, Waiter?) = monitor.locked {
            while frames.count >= FrameBuffer.capacity && !cancelled { monitor.wait() }
            guard !cancelled else { return (false, nil) }
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
        let result: Result<AudioFrame?, any Error> = error.map { .failure($0) } ?? .success(nil)
        let waiter: Waiter? = monitor.locked {
            if end == nil { end = result }
            defer { self.waiter = nil }
            return self.waiter
        }
        waiter?.resume(with: result)
    }

    /// The next frame, nil at the end. Throws the maker's error, or `CancellationError`.
    func next() async throws -> AudioFrame? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (waiter: Waiter) in
                let result: Result<AudioFrame?, any Error>? = monitor.locked {
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
