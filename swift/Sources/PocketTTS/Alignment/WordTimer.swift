/// Times the words of a text while it is spoken.
///
/// The time of a word is known when the next word is decided (`WordPath.lag` frames after its start),
/// after as much silence, or at the end of its chunk: at most 0.5 s of audio after its end. Times count
/// every sample: a chunk starts where the audio before it ended, including pauses.
///
/// Call `begin` at the start of a chunk, `hear` for each of its frames, `end` at its end, and `pause`
/// between chunks. They return the words that have become known, in the order of the text, with
/// times from the first sample on. A chunk is given at `pace` times the pace at which it was heard.
struct WordTimer {
    private let rate: Int
    private let pace: Double
    private var samples = 0
    private var chunk: ChunkTimer?
    private var cut: SpokenWord?  // a word that continues in the next chunk

    init(sampleRate: Int, pace: Double = 1) {
        rate = sampleRate
        self.pace = pace
    }

    /// The next chunk: its number, its words and how many tokens it has.
    mutating func begin(_ index: Int, _ words: [Word], tokens: Int) {
        chunk = ChunkTimer(index, words, tokens: tokens, sampleRate: rate)
    }

    /// One frame of the chunk's audio, and its attention.
    mutating func hear(_ audio: [Float], _ attention: Attention) -> [SpokenWord] {
        chunk?.hear(audio, attention)
        return known()
    }

    /// The chunk is over.
    mutating func end() -> [SpokenWord] {
        chunk?.finish()
        defer { samples += Int((Double(chunk?.samples ?? 0) / pace).rounded(.toNearestOrEven)) }
        return known()
    }

    /// Silence that belongs to no chunk.
    mutating func pause(_ count: Int) { samples += count }

    private mutating func known() -> [SpokenWord] {
        let index = chunk?.index ?? 0
        return (chunk?.known() ?? []).compactMap { word, span in
            let continued = cut.flatMap { $0.characters.lowerBound == word.characters.lowerBound ? $0 : nil }
            let spoken = SpokenWord(
                text: word.text,
                start: continued?.start ?? seconds(span.lowerBound),
                end: seconds(span.upperBound),
                chunk: continued?.chunk ?? index, characters: word.characters)
            cut = word.goesOn ? spoken : nil
            return word.goesOn ? nil : spoken
        }
    }

    /// The time of a place in the chunk.
    private func seconds(_ place: Int) -> Double {
        (Double(samples) + Double(place) / pace) / Double(rate)
    }
}

/// The words of one chunk, in samples from its start.
private struct ChunkTimer {
    let index: Int
    private(set) var samples = 0
    private let groups: [[Word]]  // words of one group are spoken as one
    private var path: WordPath
    private var frames = [0]  // where each frame starts, and the next one
    private var decided = 0  // frames
    private var first: [Int?]  // the first frame of each group that has frames
    private var loudness: Loudness
    private var told = 0  // groups
    private var edge = 0  // the end of the last one
    private var isOver = false

    init(_ index: Int, _ words: [Word], tokens: Int, sampleRate: Int) {
        self.index = index
        groups = words.reduce(into: [[Word]]()) { groups, word in
            if groups.last?[0].tokens.lowerBound == word.tokens.lowerBound {
                groups[groups.count - 1].append(word)
            } else {
                groups.append([word])
            }
        }
        path = WordPath(units: groups.map { $0[0].tokens }, tokens: tokens)
        first = [Int?](repeating: nil, count: groups.count)
        loudness = Loudness(sampleRate: sampleRate)
    }

    mutating func hear(_ audio: [Float], _ attention: Attention) {
        loudness.push(audio)
        samples += audio.count
        frames.append(samples)
        take(path.push(attention))
    }

    mutating func finish() {
        take(path.finish())
        isOver = true
    }

    private mutating func take(_ places: [Int]) {
        for place in places {
            if place % 2 == 1, first[place / 2] == nil { first[place / 2] = decided }
            decided += 1
        }
    }

    /// The words that have become known, in order.
    mutating func known() -> [(Word, Range<Int>)] {
        var found: [(Word, Range<Int>)] = []
        while told < groups.count {
            // Groups without a frame of their own share those of the next one.
            let spoken = groups.indices[told...].first { first[$0] != nil }
            guard let last = spoken ?? (isOver ? groups.count - 1 : nil), let span = span(last) else { break }
            found += shared(groups[told...last].flatMap { $0 }, span)
            (edge, told) = (span.upperBound, last + 1)
        }
        return found
    }

    /// The span of a group; nil while it is not known. It lasts until the next group begins, without
    /// silence before and after it.
    private func span(_ group: Int) -> Range<Int>? {
        let following = first[(group + 1)...].compactMap { $0 }.min()
        let isPassed = isOver || following != nil
        let limit = frames[following ?? decided]
        let start = max(frames[first[group] ?? decided], edge)
        let stop = max(start, isPassed ? limit : samples)
        let (before, behind) = loudness.silence(start, stop)
        let end = stop - behind
        // Silence since a decided frame: the word has ended.
        return isPassed || (start < end && end <= limit) ? start + before..<max(start + before, end) : nil
    }
}

/// Divide a time among words by their length.
private func shared(_ words: [Word], _ span: Range<Int>) -> [(Word, Range<Int>)] {
    let total = words.reduce(0) { $0 + $1.text.unicodeScalars.count }
    var (passed, begin) = (0, span.lowerBound)
    return words.map { word in
        passed += word.text.unicodeScalars.count
        let stop = span.lowerBound + span.count * passed / total
        defer { begin = stop }
        return (word, begin..<stop)
    }
}
