/// A text that may know, for each of its code points, the span of the user's text behind it.
///
/// A text is rewritten many times on its way to the model: numbers become words, quotes become
/// plain, white space collapses. Where word times are wanted, the user's text is traced from the
/// start, and every step keeps the trace; otherwise steps see the text alone.
struct Traced: Sendable, Equatable {
    /// A part of a text, and what it is replaced by.
    typealias Edit = (range: Range<Int>, new: Scalars)

    private(set) var scalars: Scalars
    /// The span behind each code point; nil without a trace. The span of an added code point is empty
    /// and lies where it was added. Neither starts nor ends ever decrease.
    private(set) var spans: [Range<Int>]?

    init(_ scalars: Scalars, spans: [Range<Int>]? = nil) { (self.scalars, self.spans) = (scalars, spans) }

    /// The user's own text, from its code point `start` on.
    init(written scalars: Scalars, from start: Int = 0) {
        self.init(scalars, spans: scalars.indices.map { start + $0..<start + $0 + 1 })
    }

    var count: Int { scalars.count }
    var isEmpty: Bool { scalars.isEmpty }
    var isTraced: Bool { spans != nil }

    subscript(range: Range<Int>) -> Traced {
        Traced(Scalars(scalars[range]), spans: spans.map { Array($0[range]) })
    }

    static func += (text: inout Traced, more: Traced) {
        if text.isEmpty { return text = more }
        text.scalars += more.scalars
        text.spans? += more.spans ?? []
    }

    static func + (text: Traced, more: Traced) -> Traced {
        var result = text
        result += more
        return result
    }

    /// Without white space at both ends.
    var stripped: Traced {
        let inner = scalars.stripped
        return self[inner.startIndex..<inner.endIndex]
    }

    /// The span of the user's text behind a range of a traced text. It is empty for an empty range.
    func span(_ range: Range<Int>) -> Range<Int> {
        guard let spans, !spans.isEmpty else { return 0..<0 }
        if range.isEmpty || range.lowerBound >= count {
            let place = range.lowerBound > 0 ? spans[range.lowerBound - 1].upperBound : spans[0].lowerBound
            return place..<place
        }
        return spans[range.lowerBound].lowerBound..<spans[range.upperBound - 1].upperBound
    }

    /// The text after edits, which are in order and apart. What is new stands for what it replaces;
    /// of several words, each stands for its share (see ``shares(_:_:)``).
    func replacing(_ edits: [Edit]) -> Traced {
        guard !edits.isEmpty else { return self }
        var result = Scalars()
        var trace: [Range<Int>] = []
        var done = 0
        for (range, new) in edits {
            result += scalars[done..<range.lowerBound] + new
            if let spans {
                trace += spans[done..<range.lowerBound]
                for (part, length) in shares(Scalars(scalars[range]), new) {
                    let start = range.lowerBound + part.lowerBound
                    let behind = span(start..<range.lowerBound + part.upperBound)
                    trace += repeatElement(behind, count: length)
                }
            }
            done = range.upperBound
        }
        result += scalars[done...]
        return Traced(result, spans: spans.map { trace + $0[done...] })
    }

    /// The text with another reading of each code point that has one.
    func replacing(_ reading: (Unicode.Scalar) -> Scalars?) -> Traced {
        replacing(scalars.indices.compactMap { i in reading(scalars[i]).map { (i..<i + 1, $0) } })
    }
}
