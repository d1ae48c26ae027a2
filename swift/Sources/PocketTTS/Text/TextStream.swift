/// Cuts pieces of text, fed one after the other, into the chunks of the whole text: where the
/// pieces begin and end changes nothing. A chunk leaves as soon as the sentence that does not fit
/// into it has ended.
struct TextStream {
    private let pipeline: TextPipeline
    private let chunker: Chunker
    private let overhead: Int
    private let space: Scalars
    private var packer: Packer
    private var tail = Traced([])  // text that is not tokenized yet
    private var open: [Int] = []  // tokens of the sentence that has begun
    private var isEmpty = true  // nothing has been tokenized
    private let firstSentenceAtOnce: Bool
    /// Finds the words of the chunks since the text began; nil for a text without a trace.
    private(set) var finder: WordFinder?
    private var hurries: Bool

    /// The first sentence leaves as soon as it has ended, so that speech can begin early.
    ///
    /// Throws `TTSError.option` for a tokenizer whose tokens reach across spaces.
    init(_ pipeline: TextPipeline, firstSentenceAtOnce: Bool) throws {
        self.pipeline = pipeline
        chunker = pipeline.chunker
        let tokenizer = pipeline.tokenizer
        let overhead = tokenizer.encode([]).count
        self.overhead = overhead
        let whole = tokenizer.encode("A. A".scalars)
        let found = [" ", ""].map(\.scalars).first { space in
            tokenizer.encode("A.".scalars) + tokenizer.encode(space + ["A"]).dropFirst(overhead) == whole
        }
        guard let found else {
            throw TTSError.option(
                "This model's tokenizer does not treat words apart from each other, so text cannot "
                    + "be streamed into it. Collect the whole text and use stream.")
        }
        space = found
        packer = Packer(maxTokens: chunker.maxTokens)
        self.firstSentenceAtOnce = firstSentenceAtOnce
        hurries = firstSentenceAtOnce
    }

    /// Take in the next piece, of any length; returns the chunks that it completes.
    mutating func feed(_ piece: Traced) -> [Scalars] {
        if piece.isTraced && finder == nil { finder = WordFinder(pipeline.tokenizer) }
        var from = max(0, (tail.scalars.lastIndex { !$0.isSpace } ?? -1))
        tail += piece
        var chunks: [Scalars] = []
        while let seam = nextSeam(from) {
            from = seam.letter
            let (part, letter) = (tail[0..<seam.start], tail.scalars[seam.letter])
            guard pipeline.rules.replacements[letter] == nil, isSafe(seam.start) else { continue }
            tail = tail[seam.start..<tail.count]
            from -= seam.start
            chunks += take(pipeline.rules.replacing(pipeline.rewritten(part)), of: part, letter)
        }
        return chunks
    }

    /// Treat what has been fed as the whole text: returns its last chunks, then starts anew.
    mutating func flush() -> [Scalars] {
        let end = tail.scalars.lastIndex { !$0.isSpace }.map { $0 + 1 } ?? 0
        let part = tail[0..<end]
        let text = pipeline.rules.replacing(pipeline.rewritten(part))
        var chunks = text.isEmpty ? [] : take(pipeline.rules.finishingEnd(text), of: part, nil)
        chunks += finished(packer.rest())
        clear()
        return chunks
    }

    /// Forget what has been fed.
    mutating func clear() {
        (tail, open, isEmpty, hurries) = (Traced([]), [], true, firstSentenceAtOnce)
        finder = nil
        packer = Packer(maxTokens: chunker.maxTokens)
    }

    /// Where a text may be tokenized in two parts: at the space behind a sentence, before a word.
    private func nextSeam(_ from: Int) -> (start: Int, letter: Int)? {
        var i = max(from, 1)
        let text = tail.scalars
        while i < text.count {
            guard seamSpaces.contains(text[i]), seamMarks.contains(text[i - 1]) else {
                i += 1
                continue
            }
            var end = i
            while end < text.count && seamSpaces.contains(text[end]) { end += 1 }
            guard end < text.count else { return nil }
            if text[end].isLetterOrNumber { return (i, end) }
            i = end
        }
        return nil
    }

    /// Whether the text can also be read in two parts there: not behind an abbreviation.
    private func isSafe(_ end: Int) -> Bool {
        !pipeline.normalizes || !EnglishWords.endsInAbbreviation(tail.scalars[..<end])
    }

    /// Tokenize more of the text, of which the user wrote `written`; `following` is the letter behind
    /// it and a space, if any.
    private mutating func take(
        _ part: Traced, of written: Traced, _ following: Unicode.Scalar?
    ) -> [Scalars] {
        let begin = part.scalars.firstIndex { !$0.isSpace } ?? part.count
        var text = part[begin..<part.count]
        guard !text.isEmpty else { return [] }  // nothing of it can be read
        let ids: [Int]
        if isEmpty {
            text = pipeline.rules.finishingStart(text)
            ids = pipeline.tokenizer.encode(text.scalars)
            isEmpty = false
        } else {
            ids = open + continued(part.scalars)
        }
        finder?.add(written, text)
        let behind = following.map { continued([$0]) } ?? []
        var sentences = Array(chunker.sentences(ids + behind))
        // The last sentence goes on, unless there is nothing in it but the letter behind.
        open = []
        if following != nil, let last = sentences.popLast() {
            open = Array(ids.suffix(max(0, last.count - behind.count)))
        }
        return pack(sentences)
    }

    /// Tokens of text that stands behind a space.
    private func continued(_ text: Scalars) -> [Int] {
        let blank = text.prefix { $0 == " " }.count
        let lead = Scalars(repeating: " ", count: max(1, blank) - 1) + space
        return Array(pipeline.tokenizer.encode(lead + text.dropFirst(blank)).dropFirst(overhead))
    }

    private mutating func pack(_ sentences: [Chunker.Piece]) -> [Scalars] {
        var chunks: [Scalars] = []
        for sentence in sentences {
            for segment in chunker.segments(sentence) { chunks += finished(packer.add(segment)) }
            if hurries && (!chunks.isEmpty || !isShort(packer.begun)) {
                chunks += finished(packer.rest())
                hurries = false
            }
        }
        return chunks
    }

    private func finished(_ chunk: Scalars?) -> [Scalars] {
        guard let chunk else { return [] }
        return pipeline.options.cutAtWords ? chunker.cutBetweenWords(chunk) : [chunk]
    }
}

private let seamMarks: Set<Unicode.Scalar> = [".", "!", "?", "…", "\"", "'", "”", "’", ")", "]", "»"]
private let seamSpaces: Set<Unicode.Scalar> = [" ", "\n", "\r"]
