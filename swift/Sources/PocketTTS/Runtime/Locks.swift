import Foundation

/// A condition variable with its mutex; threads wait on it, tasks never do.
final class Monitor: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    /// Inside `locked` only: give the lock back until `notify`.
    func wait() { pthread_cond_wait(condition, mutex) }

    /// Wake every thread that waits.
    func notify() { pthread_cond_broadcast(condition) }
}

/// A lock that is given in the order in which it was asked for.
///
/// The models of one engine share it: each run computes with all of the engine's threads, and more
/// of them than processors would only wait for each other. A plain lock may let one thread in again
/// and again; here two that alternate do alternate.
final class Turns: Sendable {
    private let monitor = Monitor()
    private let tickets = Tickets()

    private final class Tickets: @unchecked Sendable {
        var next = 0
        var serving = 0
    }

    func run<Result>(_ body: () throws -> Result) rethrows -> Result {
        monitor.locked {
            let ticket = tickets.next
            tickets.next += 1
            while tickets.serving != ticket { monitor.wait() }
        }
        defer {
            monitor.locked {
                tickets.serving += 1
                monitor.notify()
            }
        }
        return try body()
    }
}

/// A queue between two threads that holds at most `capacity` items.
final class BoundedQueue<Item>: @unchecked Sendable {
    private let monitor = Monitor()
    private let capacity: Int
    private var items: [Item] = []
    private var closed = false

    init(capacity: Int) { self.capacity = capacity }

    var isClosed: Bool { monitor.locked { closed } }

    /// Waits while the queue is full. False once it is closed: nobody takes items any more.
    @discardableResult
    func put(_ item: Item) -> Bool {
        monitor.locked {
            while items.count >= capacity && !closed { monitor.wait() }
            guard !closed else { return false }
            items.append(item)
            monitor.notify()
            return true
        }
    }

    /// Waits while the queue is empty. Nil once it is closed.
    func take() -> Item? {
        monitor.locked {
            while items.isEmpty && !closed { monitor.wait() }
            guard !closed else { return nil }
            defer { monitor.notify() }
            return items.removeFirst()
        }
    }

    /// End both sides; what is in the queue is dropped.
    func close() {
        monitor.locked {
            closed = true
            items.removeAll()
            monitor.notify()
        }
    }
}

/// Something that becomes true once, and that a thread can wait for.
final class Signal: @unchecked Sendable {
    private let monitor = Monitor()
    private var isSet = false

    func set() {
        monitor.locked {
            isSet = true
            monitor.notify()
        }
    }

    func wait() {
        monitor.locked { while !isSet { monitor.wait() } }
    }
}

/// Start a thread of the package's own: computing would keep the tasks' threads from others.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.stackSize = 1 << 20
    thread.qualityOfService = .userInitiated
    thread.start()
}
