import Foundation

/// How speech is changed after the decoder: factors of its pitch, of the frequencies of its formants
/// and of its pace.
struct Timbre: Equatable {
    let pitch: Double
    let formants: Double
    let pace: Double

    /// What a voice's metadata ask for; nil for nothing. Throws `TTSError.voice`.
    init?(_ metadata: [String: String]) throws {
        let keys = ["pitch", "formants", "pace"]
        guard keys.contains(where: { metadata[$0] != nil }) else { return nil }
        let factors = keys.map { Double(metadata[$0] ?? "1") ?? .nan }
        guard factors.allSatisfy({ 0.5...3 ~= $0 }) else {
            throw TTSError.voice(
                "The voice's timbre cannot be used: pitch, formants and pace must be from 0.5 to 3. Export "
                    + "the voice again.")
        }
        (pitch, formants, pace) = (factors[0], factors[1], factors[2])
    }

    /// How many samples so many become.
    func length(_ samples: Int) -> Int {
        Int((Double(samples) / pace).rounded(.toNearestOrEven))
    }
}

/// A stream of 24 kHz speech in another pitch, with other formants and at another pace, by
/// pitch-synchronous overlap-add (Moulines and Charpentier 1990,
/// https://doi.org/10.1016/0167-6393(90)90021-Z). The same as `pocket_tts_jax/audio/timbre.py`.
///
/// `push` and `finish` together return `timbre.length` of the samples put in; how the input was cut
/// into pieces changes none of them.
struct TimbreShift {
    private struct Mark {
        let place: Int
        let period: Double
        let voiced: Bool

        /// Whether this is the next period of the same voice.
        func follows(_ last: Mark) -> Bool {
            voiced && last.voiced && Double(place - last.place) <= TimbreShift.farthest * last.period
        }
    }

    private static let unvoiced = 120  // samples between marks where there is no voice
    private static let gap = 216  // to the next mark, at most
    private static let longest = PitchTracker.longest
    private static let farthest = 1.25  // periods to the next mark
    private static let ahead = gap + longest  // of the last mark: what the search for the next reads

    private let timbre: Timbre
    private let reach: Int  // of a grain to either side, at most
    private let reader: GrainReader
    private var tracker = PitchTracker()
    private var wave = [Double](repeating: 0, count: 2 * longest)
    private var begin = -2 * longest  // of `wave`, in the input
    private var received = 0
    // From the one before the nearest to the next grain on; there is one after the nearest too.
    private var marks = [-unvoiced, 0].map { Mark(place: $0, period: Double(unvoiced), voiced: false) }
    private var grain: [Double] = []  // of the nearest, if it is not empty
    private var time = 0.0  // of the next grain's middle, in the output
    private var made: [Double]  // grains added up, from the first sample not given
    private var given: Int

    init(_ timbre: Timbre) {
        self.timbre = timbre
        reach = Int(Double(Self.longest) / timbre.formants) + 1
        reader = GrainReader(timbre.formants, reach)
        made = [Double](repeating: 0, count: 2 * reach)
        given = -reach
    }

    /// The output that `samples` complete.
    mutating func push(_ samples: [Float]) -> [Float] {
        let samples = samples.map(Double.init)
        received += samples.count
        extend(samples)
        tracker.push(samples)
        return give(run(received))
    }

    /// The rest. The object is spent after it.
    mutating func finish() -> [Float] {
        let silence = 4 * Self.longest + Self.ahead + Int(timbre.pace * Double(reach + 1))
        extend([Double](repeating: 0, count: silence))
        tracker.finish(received + silence)
        _ = run(received + silence)
        return give(timbre.length(received))
    }

    private mutating func extend(_ samples: [Double]) {
        let keep = marks[0].place - 2 * Self.longest
        if keep > begin {
            wave.removeFirst(keep - begin)
            begin = keep
        }
        wave += samples
    }

    /// Lay down the grains that `received` samples allow; where the output that they complete ends.
    private mutating func run(_ received: Int) -> Int {
        let known = min(tracker.known, received - 2 * Self.longest)
        while let previous = marks.last, previous.place + Self.ahead < known {
            marks.append(nextMark(previous))
            while time * timbre.pace <= Double(previous.place) { layDown() }
        }
        return Int(time) - reach
    }

    private mutating func give(_ end: Int) -> [Float] {
        let count = max(0, end - given)
        if count > made.count {  // short grains leave gaps
            made += [Double](repeating: 0, count: count - made.count)
        }
        let ready = made.prefix(count).dropFirst(max(0, -given)).map { Float($0) }
        made.removeFirst(count)
        given += count
        return ready
    }

    private func nextMark(_ last: Mark) -> Mark {
        if last.voiced {
            let place = alike(last)
            if tracker.period(place) > 0 {
                return Mark(place: place, period: tracker.period(place), voiced: true)
            }
        }
        guard let onset = onset(last.place) else {
            return Mark(place: last.place + Self.unvoiced, period: Double(Self.unvoiced), voiced: false)
        }
        let first = onset..<onset + Int(tracker.period(onset))
        var place = onset
        for i in first where abs(wave[i - begin]) > abs(wave[place - begin]) { place = i }
        let period = tracker.period(place)
        return Mark(place: place, period: period > 0 ? period : tracker.period(onset), voiced: true)
    }

    /// Where a voice begins, at most `gap` samples after `place`.
    private func onset(_ place: Int) -> Int? {
        let (hop, half) = (PitchTracker.hop, PitchTracker.hop / 2)
        return stride(from: (place + half) / hop * hop + half, to: place + Self.gap, by: hop)
            .first { tracker.period($0) > 0 && tracker.period($0 - 1) == 0 }
    }

    /// The place about a period after a mark that is most similar to it, by normalised
    /// cross-correlation.
    private func alike(_ mark: Mark) -> Int {
        let half = Int(0.75 * mark.period)
        let first = mark.place + Int(0.8 * mark.period)
        let last = mark.place + Int(Self.farthest * mark.period)
        return wave.withUnsafeBufferPointer { wave in
            var best = (likeness: -Double.infinity, place: first)
            for place in first...last {
                var (product, power) = (0.0, 1e-9)
                for i in -half..<half {
                    let sample = wave[place + i - begin]
                    product += sample * wave[mark.place + i - begin]
                    power += sample * sample
                }
                let likeness = product / power.squareRoot()
                if likeness > best.likeness { best = (likeness, place) }
            }
            return best.place
        }
    }

    /// Add the grain of the nearest mark at the present time, and go on by a new period.
    private mutating func layDown() {
        let now = time * timbre.pace  // in the input
        while Double(marks[1].place + marks[2].place) < 2 * now {
            marks.removeFirst()
            grain = []
        }
        let (mark, formants) = (marks[1], timbre.formants)
        var (period, half) = (Double(Self.unvoiced), Double(Self.unvoiced))
        // Shortened grains of noise are not in step with each other, and add up to less.
        var gain = formants != 1 ? 1.15 : 1
        if mark.voiced {
            period = mark.period / timbre.pitch
            half = mark.period / formants
            gain = (formants * period / mark.period).squareRoot()  // the power as it was
        }
        let count = Int(half)
        let start = Int(time.rounded(.toNearestOrEven)) - given
        let missing = start + count + 1 - made.count
        if missing > 0 { made += [Double](repeating: 0, count: missing + 4 * reach) }
        if grain.isEmpty { grain = readGrain(count) }
        for offset in -count...count {
            let window = 0.5 + 0.5 * cos(.pi * Double(offset) / half)
            made[start + offset] += gain * window * grain[offset + count]
        }
        time += period
    }

    /// The grain of the nearest mark, `count` samples to either side. That of a voice is averaged with
    /// those of the periods beside it: what differs between them is noise for the most part.
    private func readGrain(_ count: Int) -> [Double] {
        let (before, mark, after) = (marks[0], marks[1], marks[2])
        func read(_ mark: Mark) -> [Double] {
            (-count...count).map { reader.read(wave, mark.place - begin, $0) }
        }
        guard mark.follows(before), after.follows(mark) else { return read(mark) }
        return zip(read(mark), zip(read(before), read(after))).map { 0.5 * $0 + 0.25 * ($1.0 + $1.1) }
    }
}

/// Reads a grain at other than whole samples, through a filter below the new rate.
private struct GrainReader {
    private static let taps = 16  // to either side
    private let reach: Int
    private let whole: [Int]
    private let weights: [Double]  // [offset][tap]

    init(_ formants: Double, _ reach: Int) {
        self.reach = reach
        let (taps, passBand) = (Self.taps, min(1, 1 / formants))
        var (whole, weights): ([Int], [Double]) = ([], [])
        for offset in -reach...reach {
            let at = Double(offset) * formants
            let row = (1 - taps...taps).map { tap in
                let distance = Double(tap) - (at - at.rounded(.down))
                if abs(distance) >= Double(taps) { return 0.0 }
                return sinc(passBand * distance) * (0.5 + 0.5 * cos(.pi * distance / Double(taps)))
            }
            let sum = row.reduce(0, +)
            weights += row.map { $0 / sum }
            whole.append(Int(at.rounded(.down)) + 1 - taps)
        }
        (self.whole, self.weights) = (whole, weights)
    }

    /// The sample `offset` new samples from the middle of a grain.
    func read(_ wave: [Double], _ middle: Int, _ offset: Int) -> Double {
        let row = offset + reach
        let (first, weight) = (middle + whole[row], row * 2 * Self.taps)
        var sum = 0.0
        for tap in 0..<2 * Self.taps { sum += wave[first + tap] * weights[weight + tap] }
        return sum
    }
}

private func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(.pi * x) / (.pi * x) }
