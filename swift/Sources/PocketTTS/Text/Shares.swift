/// The part of `old` behind each part of `new`: its range, and the length of the part of `new`.
///
/// The parts of `new` are contiguous. Words that both have stand for each other; those between are
/// assigned in order, by their spoken length.
func shares(_ old: Scalars, _ new: Scalars) -> [(part: Range<Int>, length: Int)] {
    let (words, said) = (old.words, new.words)
    guard words.count > 1, !said.isEmpty else { return new.isEmpty ? [] : [(old.indices, new.count)] }
    var done = 0
    return groups(words, said).map { group in
        let stop = group.new.upperBound == said.count ? new.count : said[group.new.upperBound].startIndex
        defer { done = stop }
        return (words[group.old.lowerBound].startIndex..<words[group.old.upperBound - 1].endIndex, stop - done)
    }
}

private typealias Piece = ArraySlice<Unicode.Scalar>
private typealias Group = (old: Range<Int>, new: Range<Int>)

/// Neighbouring words of one text that become neighbouring words of another, none of them empty.
private func groups(_ words: [Piece], _ said: [Piece]) -> [Group] {
    let edges = matches(words.map(plain), said.map(plain)) + [(words.count, said.count)]
    // A stretch that is empty on one side goes to the neighbour before it, or else to the one after.
    var kept = [(0, 0)]
    for (i, j) in edges {
        let last = kept[kept.count - 1]
        if last != (0, 0) && (i == last.0 || j == last.1) {
            kept[kept.count - 1] = (i, j)
        } else if i > last.0 && j > last.1 {
            kept.append((i, j))
        }
    }
    kept[kept.count - 1] = (words.count, said.count)
    return zip(kept, kept.dropFirst()).flatMap { from, to -> [Group] in
        sharedOut(words[from.0..<to.0], said[from.1..<to.1])
    }
}

/// A word as it is compared: small letters, no marks around it.
private func plain(_ word: Piece) -> Scalars {
    let marks: Set<Unicode.Scalar> = [".", ",", ";", ":", "!", "?", "(", ")"]
    let start = word.drop { marks.contains($0) }
    let end = start.lastIndex { !marks.contains($0) }.map { $0 + 1 } ?? start.startIndex
    return start[..<end].flatMap { $0.properties.lowercaseMapping.scalars }
}

/// The edges of equal words, in order: the longest equal stretch first, then what lies before and
/// behind it.
private func matches(_ old: [Scalars], _ new: [Scalars]) -> [(Int, Int)] {
    var edges: [(Int, Int)] = []
    func search(_ a: Range<Int>, _ b: Range<Int>) {
        var (bestI, bestJ, size) = (0, 0, 0)
        var lengths: [Int: Int] = [:]  // of equal stretches that end at a word of `new`
        for i in a {
            var here: [Int: Int] = [:]
            for j in b where old[i] == new[j] {
                let length = lengths[j - 1, default: 0] + 1
                here[j] = length
                if length > size { (bestI, bestJ, size) = (i - length + 1, j - length + 1, length) }
            }
            lengths = here
        }
        guard size > 0 else { return }
        if a.lowerBound < bestI && b.lowerBound < bestJ {
            search(a.lowerBound..<bestI, b.lowerBound..<bestJ)
        }
        edges += (0...size).map { (bestI + $0, bestJ + $0) }
        if bestI + size < a.upperBound && bestJ + size < b.upperBound {
            search(bestI + size..<a.upperBound, bestJ + size..<b.upperBound)
        }
    }
    search(old.indices, new.indices)
    return edges
}

/// The shorter list one by one, each with one or more of the other's, near the same place.
private func sharedOut(_ words: ArraySlice<Piece>, _ said: ArraySlice<Piece>) -> [Group] {
    let (old, new) = (words.map(spokenLength), said.map(spokenLength))
    if old.count <= new.count {
        let ends = cuts(old, new).map { said.startIndex + $0 }
        return words.indices.enumerated().map { n, i in (i..<i + 1, ends[n]..<ends[n + 1]) }
    }
    let ends = cuts(new, old).map { words.startIndex + $0 }
    return said.indices.enumerated().map { n, j in (ends[n]..<ends[n + 1], j..<j + 1) }
}

/// Cut `many` into `few.count` parts, none empty, whose ends are near those of `few`.
private func cuts(_ few: [Double], _ many: [Double]) -> [Int] {
    let scale = many.reduce(0, +) / few.reduce(0, +)
    var (cuts, wanted) = ([0], 0.0)
    for (i, length) in few.dropLast().enumerated() {
        wanted += length * scale
        var cut = cuts[i] + 1
        var passed = many[..<cut].reduce(0, +)
        let last = many.count - (few.count - 1 - i)
        while cut < last && abs(passed + many[cut] - wanted) < abs(passed - wanted) {
            passed += many[cut]
            cut += 1
        }
        cuts.append(cut)
    }
    return cuts + [many.count]
}

/// The approximate spoken length of a word: a digit counts as four letters.
private func spokenLength(_ word: Piece) -> Double {
    word.reduce(1) { $0 + ($1.isDigit ? 4 : 1) }
}
