/// A word of the user's text, and the tokens of a chunk that say it.
///
/// Neighbours that are spoken as one have the same tokens. `goesOn` says that the next chunk has the
/// rest of the word.
struct Word: Sendable, Equatable {
    var text: String
    var characters: Range<Int>
    var tokens: Range<Int>
    var goesOn = false
}

/// The words of `text`: what stands between white space, dashes and dots of omission, without quotes,
/// brackets and marks around it.
func wordRanges(_ text: Scalars) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var start = 0
    func end(_ stop: Int) {
        let piece = text[start..<stop].drop { wordMarks.contains($0) }
        guard let last = piece.lastIndex(where: { !wordMarks.contains($0) }) else { return }
        found.append(piece.startIndex..<last + 1)
    }
    for i in text.indices {
        let isDash = text[i] == "-" && i + 1 < text.count && text[i + 1] == "-"
        if isDash || text[i].isSpace || text[i] == "—" || text[i] == "…" {
            end(i)
            start = i + 1
        }
    }
    end(text.count)
    return found
}

/// Assigns the tokens of chunks to the words of the user's text. A word is one word however it is
/// spoken: the tokens of "twelve" belong to "12".
///
/// Text is added before the chunks that are cut from it; chunks come in order. Not for use by several
/// threads at once.
final class WordFinder {
    private let tokenizer: any Tokenizer
    private var spans: [Range<Int>] = []  // of the words that were added, in the user's text
    private var texts: [String] = []
    private var letters = Traced([])  // as they are decoded
    private var done = 0  // of the letters: those that chunks have been made of
    private var end = 0  // in the user's text, of the letters that are done

    init(_ tokenizer: any Tokenizer) { self.tokenizer = tokenizer }

    /// More text: an unchanged part of the user's text, and what is tokenized of it, both traced.
    func add(_ written: Traced, _ prepared: Traced) {
        for range in wordRanges(written.scalars) {
            spans.append(written.span(range))
            texts.append(String(written.scalars[range]))
        }
        letters = letters[done..<letters.count] + decoded(prepared, tokenizer)
        done = 0
    }

    /// The next chunk, with the trace of its characters.
    func trace(_ chunk: Scalars) -> Traced {
        var behind = matched(chunk.filter { !$0.isSpace })[...]
        var place = behind.first?.lowerBound ?? 0
        let spans = chunk.map { scalar in
            guard !scalar.isSpace, let span = behind.popFirst() else { return place..<place }
            place = span.upperBound
            return span
        }
        return Traced(chunk, spans: spans)
    }

    /// The words of the chunk that was traced last, after its preparation.
    func words(_ text: Traced) -> [Word] {
        var found: [Word] = []
        for (token, range) in trimmedSpans(text.scalars, tokenizer).enumerated() {
            for index in overlapping(text.span(range)) { add(index, token, to: &found) }
        }
        if let last = found.last, goesOn(last) { found[found.count - 1].goesOn = true }
        return found
    }

    /// The span behind each of a chunk's letters. A tokenizer may decode a letter differently the
    /// second time, so the two texts are realigned where they differ.
    private func matched(_ chunk: Scalars) -> [Range<Int>] {
        var (result, i) = ([Range<Int>](), 0)
        while i < chunk.count {
            let isSame = done < letters.count && letters.scalars[done] == chunk[i]
            let (skipped, passed) = isSame ? (1, 1) : toStep(chunk, i, letters.scalars, done)
            let span = done < letters.count ? letters.span(done..<done + 1) : end..<end
            result += repeatElement(span, count: skipped)
            i += skipped
            done = min(done + passed, letters.count)
            end = letters.isEmpty ? end : letters.span(done..<done).lowerBound
        }
        return result
    }

    private func overlapping(_ span: Range<Int>) -> Range<Int> {
        var (first, end) = (0, spans.count)  // the first word that ends behind the span's start
        while first < end {
            let middle = (first + end) / 2
            if spans[middle].upperBound <= span.lowerBound { first = middle + 1 } else { end = middle }
        }
        var last = first
        while last < spans.count && spans[last].lowerBound < span.upperBound { last += 1 }
        return first..<last
    }

    /// Add a token to a word. A token of two words belongs to the first, unless the second has no
    /// other: then they share it.
    private func add(_ index: Int, _ token: Int, to found: inout [Word]) {
        let last = found.count - 1
        guard let known = found.lastIndex(where: { $0.characters.lowerBound == spans[index].lowerBound })
        else {
            let isShared = last >= 0 && found[last].tokens.upperBound > token
            let first = isShared ? found[last].tokens.lowerBound : token
            found.append(Word(text: texts[index], characters: spans[index], tokens: first..<token + 1))
            return
        }
        var first = found[known].tokens.lowerBound
        if known < last {  // also the second's: theirs are the same tokens
            for i in known...last { found[i].tokens = first..<token + 1 }
            return
        }
        if last > 0 && found[last - 1].tokens.upperBound > first {
            first = min(max(found[last - 1].tokens.upperBound, first), token)
        }
        found[last].tokens = first..<token + 1
    }

    private func goesOn(_ word: Word) -> Bool {
        let next = letters[done..<min(done + 64, letters.count)]
        return zip(next.scalars, next.spans ?? []).contains { scalar, span in
            scalar.isLetterOrNumber && span.lowerBound < word.characters.upperBound
        }
    }
}

private let wordMarks = Set("\"'“”„‟‘’‚‛«»‹›()[]{}<>.,;:!?¡¿-–—*_~`|•·…".unicodeScalars)
// To realign two texts: how many characters must agree, and how far to look for them.
private let inStep = 6
private let far = 200

/// The characters of `text` that each of its tokens stands for, without white space around them.
///
/// Tokens that together stand for one thing (the bytes of a character) all have its range.
private func trimmedSpans(_ text: Scalars, _ tokenizer: any Tokenizer) -> [Range<Int>] {
    var spans = tokenizer.spans(text)
    for i in spans.indices.dropLast().reversed()
    where spans[i].isEmpty && spans[i + 1].contains(spans[i].lowerBound) {
        spans[i] = spans[i + 1]
    }
    return spans.map { range in
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end && text[start].isSpace { start += 1 }
        while start < end && text[end - 1].isSpace { end -= 1 }
        return start..<end
    }
}

/// The decoded tokens of `text` without white space, with their trace.
private func decoded(_ text: Traced, _ tokenizer: any Tokenizer) -> Traced {
    let pieces = tokenizer.pieces(tokenizer.encode(text.scalars))
    var (letters, trace) = (Scalars(), [Range<Int>]())
    for (range, piece) in zip(trimmedSpans(text.scalars, tokenizer), pieces) {
        let isSame = text.scalars[range] == piece.stripped
        for (i, scalar) in piece.stripped.enumerated() where !scalar.isSpace {
            letters.append(scalar)
            let place = range.lowerBound + i
            trace.append(text.span(isSame ? place..<place + 1 : range))
        }
    }
    return Traced(letters, spans: trace)
}

/// The numbers of `letters` and of `plain` to skip until they agree.
private func toStep(_ letters: Scalars, _ i: Int, _ plain: Scalars, _ done: Int) -> (Int, Int) {
    for distance in 1..<2 * far {
        for skipped in max(0, distance - far)...min(distance, far) {
            let (place, passed) = (done + distance - skipped, distance - skipped)
            guard i + skipped < letters.count, place < plain.count else { continue }
            if plain[place...].starts(with: letters[(i + skipped)...].prefix(inStep)) { return (skipped, passed) }
        }
    }
    return (letters.count - i, min(letters.count - i, plain.count - done))
}
