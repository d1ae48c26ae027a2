import Foundation

/// Periods of 24 kHz speech, hop by hop of 5 ms, after Boersma 1993
/// (https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf): the strongest path without leaps
/// through the lags at which speech is similar to itself. The same numbers as in
/// `pocket_tts_jax/audio/pitch.py`; how the input is cut into pieces changes none of them.
struct PitchTracker {
    static let hop = 120
    static let window = 1200
    static let lowest = 65.0  // Hz
    static let highest = 400.0
    /// Samples: no period is longer.
    static let longest = Int(24_000 / lowest) + 4

    private static let coarse = 3  // lags are searched at a third of the rate
    private static let delay = 10  // hops from a window's middle to the decision about it
    private static let voiced = 0.45
    private static let quiet = 0.02
    private static let (shorter, leap, change) = (0.02, 0.35, 0.14)

    private let lags: ClosedRange<Int>
    private let taper: [Double]
    private let taperSimilarity: [Double]
    private let costs: [Double]  // [to][from]: of going from one state to another
    private var total: [Double]
    private var wave = [Double](repeating: 0, count: window / 2)
    private var loudest = 0.1
    private var origins: [[Int]] = []  // of the hops not decided yet
    private var refined: [[Double]] = []
    private var periods: [Double] = []

    init() {
        let rate = 24_000.0 / Double(Self.coarse)
        lags = Int(rate / Self.highest)...Int(rate / Self.lowest)
        let size = Self.window / Self.coarse
        taper = (0..<size).map { 0.5 - 0.5 * cos(2 * .pi * Double($0) / Double(size - 1)) }
        taperSimilarity = autocorrelation(taper, lags)
        costs = transitionCosts(lags, leap: Self.leap, change: Self.change)
        total = [Double](repeating: 0, count: lags.count + 1)
    }

    /// The number of samples from the first whose period is known.
    var known: Int { periods.count * Self.hop - Self.hop / 2 }

    /// The period around a known sample, in samples; 0 where there is no voice.
    func period(_ sample: Int) -> Double { periods[(sample + Self.hop / 2) / Self.hop] }

    mutating func push(_ samples: [Double]) {
        wave += samples
        var begin = 0
        while begin + Self.window <= wave.count {
            let frame = wave[begin..<begin + Self.window]
            let middle = frame.dropFirst(Self.window / 2 - Self.hop).prefix(2 * Self.hop)
            let peak = middle.reduce(0) { max($0, abs($1)) }
            loudest = max(loudest, peak)
            goOn(similarity(Array(frame)), Self.voiced + max(0, 2 - peak / loudest / Self.quiet))
            begin += Self.hop
        }
        wave.removeFirst(begin)
    }

    /// Silence follows; afterwards all of the first `samples` samples are known.
    mutating func finish(_ samples: Int) {
        push([Double](repeating: 0, count: Self.window))
        while known < samples { push([Double](repeating: 0, count: Self.hop)) }
    }

    /// Similarity of speech to itself at each lag, 1 at most.
    private func similarity(_ frame: [Double]) -> [Double] {
        var thin = stride(from: 0, to: frame.count, by: Self.coarse).map { i in
            frame[i..<i + Self.coarse].reduce(0, +) / Double(Self.coarse)
        }
        let mean = thin.reduce(0, +) / Double(thin.count)
        for i in thin.indices { thin[i] = (thin[i] - mean) * taper[i] }
        return zip(autocorrelation(thin, lags), taperSimilarity).map { $0 / $1 }
    }

    private mutating func goOn(_ similarity: [Double], _ unvoiced: Double) {
        let first = Double(lags.lowerBound)
        var values = zip(lags, similarity).map { $1 - Self.shorter * log2(Double($0) / first) }
        values.append(unvoiced)
        if !refined.isEmpty {
            var origin = [Int](repeating: 0, count: total.count)
            for to in total.indices {
                var best = -Double.infinity
                for from in total.indices {
                    let reached = total[from] - costs[to * total.count + from]
                    if reached > best { (best, origin[to]) = (reached, from) }
                }
                values[to] += best
            }
            origins.append(origin)
        }
        let most = values.max() ?? 0
        total = values.map { $0 - most }
        refined.append(zip(lags, vertices(similarity)).map { Double(Self.coarse) * (Double($0) + $1) } + [0])
        if refined.count > Self.delay { decide() }
    }

    private mutating func decide() {
        var state = total.indices.max { total[$0] < total[$1] || (total[$0] == total[$1] && $0 > $1) } ?? 0
        for origin in origins.reversed() { state = origin[state] }
        periods.append(refined.removeFirst()[state])
        origins.removeFirst()
    }
}

private func transitionCosts(_ lags: ClosedRange<Int>, leap: Double, change: Double) -> [Double] {
    let states = lags.count + 1
    var costs = [Double](repeating: change, count: states * states)
    for (i, a) in lags.enumerated() {
        for (j, b) in lags.enumerated() {
            costs[i * states + j] = leap * abs(log2(Double(a) / Double(b)))
        }
    }
    costs[states * states - 1] = 0
    return costs
}

private func autocorrelation(_ wave: [Double], _ lags: ClosedRange<Int>) -> [Double] {
    wave.withUnsafeBufferPointer { wave in
        func product(_ lag: Int) -> Double {
            var sum = 0.0
            for i in lag..<wave.count { sum += wave[i] * wave[i - lag] }
            return sum
        }
        let power = product(0) + 1e-9
        return lags.map { product($0) / power }
    }
}

/// From each lag to the vertex of the parabola through it and its neighbours, half a lag at most.
private func vertices(_ values: [Double]) -> [Double] {
    var found = [Double](repeating: 0, count: values.count)
    for i in values.indices.dropFirst().dropLast() {
        let (before, here, after) = (values[i - 1], values[i], values[i + 1])
        let bend = min(before - 2 * here + after, -1e-9)
        found[i] = min(0.5, max(-0.5, 0.5 * (before - after) / bend))
    }
    return found
}
