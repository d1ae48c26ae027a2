/// Cutting a tokenized text into chunks of a few sentences (docs/contract.md, *Chunks*), and two
/// better ways of cutting that are off by default.
struct Chunker: Sendable {
    /// A piece of text with its number of tokens.
    typealias Piece = (count: Int, text: Scalars)

    let tokenizer: any Tokenizer
    let maxTokens: Int
    private let sentenceMarks: Set<Int>
    private let clauseMarks: Set<Int>

    init(_ tokenizer: any Tokenizer, maxTokens: Int) {
        self.tokenizer = tokenizer
        self.maxTokens = maxTokens
        // The first token is no mark: it may carry the vocabulary's word-start sign.
        sentenceMarks = Set(tokenizer.encode(".!...?".scalars).dropFirst())
        clauseMarks = Set(tokenizer.encode(",;:".scalars).dropFirst())
    }

    /// The chunks of a tokenized text, each made when it is asked for.
    func chunks(_ ids: [Int]) -> AnyIterator<Scalars> {
        let sentences = sentences(ids)
        var packer = Packer(maxTokens: maxTokens)
        var segments: ArraySlice<Piece> = []
        var ended = false
        return AnyIterator {
            while !ended {
                if segments.isEmpty {
                    guard let sentence = sentences.next() else {
                        ended = true
                        return packer.rest()
                    }
                    segments = self.segments(sentence)[...]
                }
                if let chunk = packer.add(segments.removeFirst()) { return chunk }
            }
            return nil
        }
    }

    /// The sentences of a tokenized text.
    func sentences(_ ids: [Int]) -> AnyIterator<Piece> {
        var start = 0
        return AnyIterator {
            guard start <= ids.count, start < ids.count || start == 0 else { return nil }
            var end = start + 1
            while end < ids.count
                && !(isCut(ids, end, sentenceMarks) && !isWithinNumber(ids, end))
            {
                end += 1
            }
            end = min(end, ids.count)
            defer { start = max(end, 1) }
            return (end - start, tokenizer.decode(ids[start..<end]))
        }
    }

    /// A sentence, or its clauses where it has more than `maxTokens` tokens.
    func segments(_ sentence: Piece) -> [Piece] {
        guard sentence.count > maxTokens else { return [sentence] }
        let ids = tokenizer.encode(Scalars(sentence.text.stripped))
        var clauses: [Piece] = []
        var start = 0
        for end in 1..<max(ids.count, 1) where isCut(ids, end, clauseMarks) {
            clauses.append((end - start, tokenizer.decode(ids[start..<end])))
            start = end
        }
        guard start > 0 else { return [sentence] }
        return clauses + [(ids.count - start, tokenizer.decode(ids[start...]))]
    }

    /// Cut a chunk of more than `maxTokens` tokens between words, into parts of about one length.
    func cutBetweenWords(_ chunk: Scalars) -> [Scalars] {
        guard tokenizer.encode(chunk).count > maxTokens else { return [chunk] }
        let overhead = tokenizer.encode([]).count
        let words = chunk.words.map(Scalars.init)
        let counts = words.map { tokenizer.encode([" "] + $0).count - overhead }
        let room = max(1, maxTokens - overhead)
        let total = counts.reduce(0, +)
        let enough = Double(total) / (Double(total) / Double(room)).rounded(.up)
        var (parts, start) = ([Scalars](), 0)
        while start < words.count {
            var (end, used) = (start + 1, counts[start])
            while end < words.count && used + counts[end] <= room && Double(used) < enough {
                used += counts[end]
                end += 1
            }
            func part() -> Scalars { Scalars(words[start..<end].joined(separator: [" "])) }
            // Words can take more tokens together than each by itself.
            while end - start > 1 && tokenizer.encode(part()).count > maxTokens { end -= 1 }
            parts.append(part())
            start = end
        }
        return parts
    }

    /// Join chunks of one or two words to a neighbour, as far as `maxTokens` allows: the next one,
    /// or the previous one, or the last sentence of the previous one.
    func gluingShort(_ chunks: AnyIterator<Scalars>) -> AnyIterator<Scalars> {
        var previous: Scalars?
        var current = chunks.next()
        return AnyIterator {
            while let here = current {
                let following = chunks.next()
                if isShort(here) {
                    if let following, fits(here + [" "] + following) {
                        current = here + [" "] + following
                        continue
                    }
                    if let before = previous, fits(before + [" "] + here) {
                        (previous, current) = (before + [" "] + here, following)
                        continue
                    }
                    if let before = previous {
                        let (kept, moved) = withoutLastSegment(before)
                        if !isShort(kept), fits(moved + [" "] + here) {
                            (previous, current) = (moved + [" "] + here, following)
                            return kept
                        }
                    }
                }
                defer { (previous, current) = (here, following) }
                if let before = previous { return before }
            }
            defer { previous = nil }
            return previous
        }
    }

    private func fits(_ chunk: Scalars) -> Bool { tokenizer.encode(chunk).count <= maxTokens }

    private func withoutLastSegment(_ chunk: Scalars) -> (Scalars, Scalars) {
        let parts = sentences(tokenizer.encode(chunk)).flatMap(segments).map { Scalars($0.text.stripped) }
        return (Scalars(parts.dropLast().joined(separator: [" "])), parts.last ?? [])
    }

    /// Whether `cut` lies right behind a run of marks.
    private func isCut(_ ids: [Int], _ cut: Int, _ marks: Set<Int>) -> Bool {
        marks.contains(ids[cut - 1]) && !marks.contains(ids[cut])
    }

    /// Whether `cut` lies behind the point of a number such as 3.14.
    private func isWithinNumber(_ ids: [Int], _ cut: Int) -> Bool {
        let after = edge(1, ids.count - cut) { tokenizer.decode(ids[cut..<min(cut + $0, ids.count)]).prefix(1) }
        guard after.first?.isDigit == true else { return false }
        let before = edge(2, cut) { tokenizer.decode(ids[max(0, cut - $0)..<cut]).suffix(2) }
        return before.count == 2 && before[0].isDigit && before[1] == "."
    }
}

/// Whether a chunk has so few words that a model may garble it.
func isShort(_ chunk: Scalars) -> Bool { chunk.words.count < 3 }

/// Joins neighbouring pieces to chunks while their tokens add up to `maxTokens`.
struct Packer {
    let maxTokens: Int
    private(set) var begun = Scalars()
    private var used = 0

    init(maxTokens: Int) { self.maxTokens = maxTokens }

    /// Take in a piece; returns a chunk when this one did not fit in.
    mutating func add(_ piece: Chunker.Piece) -> Scalars? {
        if !begun.isEmpty && used + piece.count <= maxTokens {
            begun += [" "] + piece.text
            used += piece.count
            return nil
        }
        let chunk = rest()
        (begun, used) = (piece.text, piece.count)
        return chunk
    }

    /// The chunk begun, if any; what is added next begins another.
    mutating func rest() -> Scalars? {
        defer { begun = [] }
        return begun.isEmpty ? nil : Scalars(begun.stripped)
    }
}

/// The `characters` at one edge of a text, given that edge of any number of its tokens.
///
/// Control tokens decode to nothing, so the window grows until it holds enough characters. A window
/// that cuts through a character spelled in byte tokens decodes it to U+FFFD; a character has at
/// most four bytes, so of four successive sizes one does not.
private func edge(
    _ characters: Int, _ available: Int, _ decoded: (Int) -> ArraySlice<Unicode.Scalar>
) -> Scalars {
    var size = 4
    while size < available && decoded(size).count < characters { size *= 2 }
    for size in size..<size + 4 {
        let edge = decoded(size)
        if !edge.contains("\u{FFFD}") { return Scalars(edge) }
    }
    return Scalars(repeating: "\u{FFFD}", count: characters)
}
