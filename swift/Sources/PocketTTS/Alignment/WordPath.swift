import Foundation

/// What one step of the model looked at: for each head, the weight of each token of the chunk.
struct Attention: Sendable {
    let heads: Int
    let tokens: Int
    /// [heads × tokens]
    let weights: [Float]
}

/// The most likely path through the words of one chunk, frame by frame.
///
/// Attention gives the weight of each token for each frame of audio. The path assigns every frame to
/// a word, or to the marks after one, and never goes back. It is found by Viterbi's algorithm with a
/// fixed lag.
///
/// `push` takes the attention of the next frame. `push` and `finish` return the places of the frames
/// that are now decided, each once. Place 2 u + 1 is unit u, 2 u + 2 the tokens between it and the next
/// one, 0 those before the first.
struct WordPath {
    /// The word of a frame is decided this many frames later (0.24 s).
    static let lag = 3
    private static let floor = 0.02  // share of the attention that any word may have without being spoken
    private static let skip = -6.0  // log likelihood of a word without a frame of its own
    private static let impossible = -1e30

    private let places: [(number: Int, tokens: Range<Int>)]
    private let before: [Double]  // words before each place
    private let behind: [Double]  // words up to the end of each place
    private var scores: [Double] = []
    private var back: [[Int]] = []  // for each undecided frame, the previous places

    /// `units` are the tokens of the chunk's words, without overlaps.
    init(units: [Range<Int>], tokens: Int) {
        var all: [(number: Int, tokens: Range<Int>)] = []
        var end = 0
        for (u, unit) in units.enumerated() {
            all.append((2 * u, end..<max(end, unit.lowerBound)))
            all.append((2 * u + 1, unit))
            end = unit.upperBound
        }
        all.append((2 * units.count, end..<max(end, tokens)))
        // There is no place between two words without a token between them.
        places = all.filter { $0.number % 2 == 1 || !$0.tokens.isEmpty }
        before = places.map { Double($0.number / 2) }
        behind = places.map { Double(($0.number + 1) / 2) }
    }

    mutating func push(_ attention: Attention) -> [Int] {
        let likelihood = self.likelihood(attention)
        if scores.isEmpty {
            scores = zip(before, likelihood).map { WordPath.skip * $0 + $1 }
            back.append(Array(places.indices))
        } else {
            var (came, best, new) = (Array(places.indices), 0, scores)
            var entry = 0.0  // the best score of an earlier place, without the words passed until there
            for i in places.indices {
                if i > 0 {
                    let moved = entry + WordPath.skip * before[i]
                    if scores[i] < moved { (came[i], new[i]) = (best, moved) }
                }
                new[i] += likelihood[i]
                let leaving = scores[i] - WordPath.skip * behind[i]
                if i == 0 || leaving > entry { (entry, best) = (leaving, i) }
            }
            back.append(came)
            scores = new
        }
        return back.count > WordPath.lag ? [decide(largest(scores))] : []
    }

    /// The places of the last frames, on the path that has reached the most words.
    mutating func finish() -> [Int] {
        guard let words = behind.last, !scores.isEmpty else { return [] }
        let place = largest(zip(scores, behind).map { $0 + WordPath.skip * (words - $1) })
        var decided: [Int] = []
        while !back.isEmpty { decided.append(decide(place)) }
        return decided
    }

    /// The log likelihood of each place, from the share of the attention on its tokens, averaged over
    /// heads.
    private func likelihood(_ attention: Attention) -> [Double] {
        var shares = [Double](repeating: 0, count: attention.tokens)
        for head in 0..<attention.heads {
            let weights = attention.weights[head * attention.tokens..<(head + 1) * attention.tokens]
            let total = weights.reduce(0) { $0 + Double($1) }
            for (token, weight) in weights.enumerated() {
                let share = total > 0 ? Double(weight) / max(total, 1e-9) : 1 / Double(attention.tokens)
                shares[token] += share / Double(attention.heads)
            }
        }
        return places.map { log(shares[$0.tokens].reduce(0, +) + WordPath.floor) }
    }

    /// Decide the oldest frame by the path that is now in `place`; drop the other paths.
    private mutating func decide(_ place: Int) -> Int {
        var origin = Array(places.indices)
        for step in back.dropFirst().reversed() { origin = origin.map { step[$0] } }
        let chosen = origin[place]
        for i in scores.indices where origin[i] != chosen { scores[i] = WordPath.impossible }
        back.removeFirst()
        return places[chosen].number
    }

    private func largest(_ values: [Double]) -> Int {
        values.indices.reduce(0) { values[$1] > values[$0] ? $1 : $0 }
    }
}
