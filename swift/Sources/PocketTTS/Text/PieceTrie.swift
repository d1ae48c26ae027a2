/// Pieces of a vocabulary by their bytes: finds all that a text begins with.
struct PieceTrie: Sendable {
    private struct Node {
        var first: Int32 = -1  // child; its siblings follow by `next`
        var next: Int32 = -1
        var value: Int32 = -1
        var byte: UInt8 = 0
    }

    private var nodes: [Node] = [Node()]
    // The root has hundreds of children, the others few.
    private var roots = [Int32](repeating: -1, count: 256)

    mutating func insert(_ bytes: some Sequence<UInt8>, _ value: Int) {
        var node: Int32 = 0
        for byte in bytes { node = child(node, byte) ?? add(node, byte) }
        nodes[Int(node)].value = Int32(value)
    }

    /// Call `found` with (length, value) of each piece that `text` begins with at `start`, the
    /// shortest first.
    @inline(__always)
    func prefixes(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ found: (Int, Int) -> Void) {
        var node: Int32 = 0
        var end = start
        while end < text.count, let next = child(node, text[end]) {
            node = next
            end += 1
            let value = nodes[Int(node)].value
            if value >= 0 { found(end - start, Int(value)) }
        }
    }

    private func child(_ node: Int32, _ byte: UInt8) -> Int32? {
        if node == 0 { return roots[Int(byte)] < 0 ? nil : roots[Int(byte)] }
        var child = nodes[Int(node)].first
        while child >= 0 && nodes[Int(child)].byte != byte { child = nodes[Int(child)].next }
        return child < 0 ? nil : child
    }

    private mutating func add(_ node: Int32, _ byte: UInt8) -> Int32 {
        let index = Int32(nodes.count)
        nodes.append(Node(next: nodes[Int(node)].first, byte: byte))
        if node == 0 { roots[Int(byte)] = index } else { nodes[Int(node)].first = index }
        return index
    }
}

/// The most probable pieces of a text (Kudo, "Subword regularization", 2018): Viterbi over the
/// places between characters. Of equal paths the one whose last piece begins first wins.
struct Unigram: Sendable {
    /// A piece of the text: its bytes, and its id or nil where no piece of the vocabulary fits.
    typealias Piece = (range: Range<Int>, id: Int?)

    let trie: PieceTrie
    let unknownScore: Double
    let scores: [Double]
    /// Whether sums are rounded to float32, as SentencePiece does it; `tokenizers` does not.
    let single: Bool

    func pieces(_ bytes: UnsafeBufferPointer<UInt8>) -> [Piece] {
        var score = [Double](repeating: 0, count: bytes.count + 1)
        var begin = [Int32](repeating: -1, count: bytes.count + 1)
        var id = [Int32](repeating: -1, count: bytes.count + 1)
        var start = 0
        while start < bytes.count {
            let length = max(1, characterLength(bytes, start))
            let here = score[start]
            var hasCharacter = false
            func offer(_ end: Int, _ piece: Int32, _ value: Double) {
                let sum = single ? Double(Float(value) + Float(here)) : value + here
                guard begin[end] < 0 || sum > score[end] else { return }
                (score[end], begin[end], id[end]) = (sum, Int32(start), piece)
            }
            trie.prefixes(bytes, start) { count, piece in
                offer(start + count, Int32(piece), scores[piece])
                if count == length { hasCharacter = true }
            }
            if !hasCharacter { offer(start + length, -1, unknownScore) }
            start += length
        }
        var result: [Piece] = []
        var end = bytes.count
        while end > 0 {
            let start = Int(begin[end])
            result.append((start..<end, id[end] < 0 ? nil : Int(id[end])))
            end = start
        }
        return result.reversed()
    }
}
