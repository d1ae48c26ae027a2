import Foundation

/// Faster or slower speech at the same pitch: waveform-similarity overlap-add (Verhelst and
/// Roelands, ICASSP 1993). Output is made of 30 ms windows, each taken from the input near where
/// the speed puts it, at the place where it continues the window before it best.
///
/// `push` and `finish` together return `round(n / speed)` samples for n put in; how the input was
/// cut into pieces changes none of them. At speed 1 samples pass through unchanged.
struct TimeStretch {
    private let speed: Double
    private let hop: Int  // half a window: the halves of neighbouring windows add up to one
    private let reach: Int  // of the search, to either side: a period of voices down to 50 Hz
    private let fade: [Double]
    private var input: [Float] = []
    private var dropped = 0  // samples that no window can need any more, before `input`
    private var received = 0
    private var returned = 0
    private var windows = 0
    private var start = 0  // of the window made last, in the input
    private var tail: [Float] = []

    /// Throws `TTSError.option` for a speed outside 0.5 to 2.
    init(speed: Double, sampleRate: Int) throws {
        guard 0.5...2 ~= speed else {
            throw TTSError.option("speed must be from 0.5 to 2, got \(speed).")
        }
        let hop = Int((0.015 * Double(sampleRate)).rounded(.toNearestOrEven))
        self.speed = speed
        self.hop = hop
        reach = Int((0.010 * Double(sampleRate)).rounded(.toNearestOrEven))
        fade = (0..<hop).map { i in
            let wave = sin(.pi / 2 * (Double(i) + 0.5) / Double(hop))
            return wave * wave
        }
    }

    /// The output that `samples` complete; often a little later than they come.
    mutating func push(_ samples: [Float]) -> [Float] {
        received += samples.count
        if speed == 1 { return samples }
        input += samples
        return give(run(received))
    }

    /// The rest. The object is spent after it.
    mutating func finish() -> [Float] {
        if speed == 1 || received == 0 { return [] }
        // Zeros behind the end let the last windows be complete.
        let padding = 4 * hop + 2 * reach
        input += [Float](repeating: 0, count: padding)
        var rest = run(received + padding) + tail
        let wanted = Int((Double(received) / speed).rounded(.toNearestOrEven)) - returned
        rest += [Float](repeating: 0, count: max(wanted - rest.count, 0))
        return give(Array(rest.prefix(max(wanted, 0))))
    }

    private mutating func give(_ samples: [Float]) -> [Float] {
        returned += samples.count
        return samples
    }

    private var ideal: Int { Int((Double(windows * hop) * speed).rounded(.toNearestOrEven)) }

    /// As many windows as `available` input samples allow.
    private mutating func run(_ available: Int) -> [Float] {
        var output: [Float] = []
        while max(ideal + reach, start + hop) + 2 * hop <= available {
            let begin = windows > 0 ? bestStart(ideal) : 0
            let window = span(begin, 2 * hop)
            let head = window.prefix(hop)
            if windows > 0 {
                for (i, sample) in head.enumerated() {
                    output.append(
                        Float(Double(tail[i]) * fade[hop - 1 - i] + Double(sample) * fade[i]))
                }
            } else {
                output += head
            }
            (tail, start) = (Array(window.dropFirst(hop)), begin)
            windows += 1
            forget()
        }
        return output
    }

    /// The start near `ideal` whose first half is most like what would have come next, by
    /// normalised cross-correlation.
    private func bestStart(_ ideal: Int) -> Int {
        let expected = span(start + hop, hop).map(Double.init)
        let first = max(ideal - reach, 0)
        let region = span(first, ideal + reach - first + hop).map(Double.init)
        var power = region.prefix(hop).reduce(0) { $0 + $1 * $1 }
        var best = (likeness: -Double.infinity, offset: 0)
        for offset in 0...(region.count - hop) {
            if offset > 0 {
                power += region[offset + hop - 1] * region[offset + hop - 1]
                power -= region[offset - 1] * region[offset - 1]
            }
            var product = 0.0
            for i in 0..<hop { product += region[offset + i] * expected[i] }
            let likeness = product / (max(power, 0) + 1e-9).squareRoot()
            if likeness > best.likeness { best = (likeness, offset) }
        }
        return first + best.offset
    }

    private func span(_ start: Int, _ length: Int) -> ArraySlice<Float> {
        input[(start - dropped)..<(start - dropped + length)]
    }

    private mutating func forget() {
        let keep = min(start + hop, max(ideal - reach, 0))
        input.removeFirst(keep - dropped)
        dropped = keep
    }
}
