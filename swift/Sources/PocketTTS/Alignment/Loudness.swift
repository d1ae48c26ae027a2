/// The level of a chunk's audio, hop by hop of 5 ms, as the audio comes: the edges of words are moved
/// to where it is quiet.
struct Loudness {
    private static let inaudible = 0.001  // -60 dB
    private static let relative = 0.01  // -40 dB, of the loudest hop so far

    private let hop: Int
    private let closure: Int  // silence before a consonant, as in "ten", is shorter
    private var levels: [Double] = []
    private var rest: [Float] = []
    private var loudest = 0.0

    init(sampleRate: Int) {
        hop = Int((0.005 * Double(sampleRate)).rounded(.toNearestOrEven))
        closure = Int((0.1 * Double(sampleRate)).rounded(.toNearestOrEven))
    }

    mutating func push(_ samples: [Float]) {
        rest += samples
        let whole = rest.count / hop * hop
        for start in stride(from: 0, to: whole, by: hop) {
            let power = rest[start..<start + hop].reduce(0) { $0 + Double($1) * Double($1) }
            levels.append((power / Double(hop)).squareRoot())
            loudest = max(loudest, levels[levels.count - 1])
        }
        rest.removeFirst(whole)
    }

    /// The numbers of quiet samples at the beginning and the end of `start` to `stop`.
    ///
    /// If all are quiet, they count at the end. Short silence at the beginning is the closure of a
    /// consonant and not counted.
    func silence(_ start: Int, _ stop: Int) -> (before: Int, behind: Int) {
        let first = (start + hop - 1) / hop
        let last = min(stop / hop, levels.count)
        let limit = max(Loudness.inaudible, loudest * Loudness.relative)
        let loud = (first..<max(first, last)).filter { levels[$0] >= limit }
        guard let begin = loud.first, let end = loud.last else { return (0, stop - start) }
        let before = (begin - first) * hop
        return (before >= closure ? before : 0, max(stop - (end + 1) * hop, 0))
    }
}
