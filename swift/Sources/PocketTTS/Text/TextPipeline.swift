/// What is done to a text before the model's own preparation.
public struct TextOptions: Sendable, Equatable {
    /// Write numbers, money, dates, units and abbreviations as words. Nil does what the model asks
    /// for. English only: other languages are refused.
    public var normalize: Bool?
    /// Understand `[pause:0.5]` and `<break time="500ms"/>`.
    public var pauses = false
    /// Curly quotes, dashes and special spaces as plain characters.
    public var plainTypography = false
    /// Join chunks of one or two words to a neighbour.
    public var glueShortChunks = false
    /// Cut a chunk that is too long between words, where it has no punctuation.
    public var cutAtWords = false
    /// Longest chunk in tokens; nil takes the model's.
    public var maxTokens: Int?

    public init() {}
}

/// One chunk as the model is fed it. `text` is for people: `ids` are what counts.
struct Prompt: Sendable {
    let text: String
    let ids: [Int]
    /// Frames spoken after the end of speech, where the model leaves that to the text.
    let framesAfterEos: Int
    /// Frames after which the chunk must have ended.
    let maxFrames: Int
    /// Those of the user's text that the chunk says, where they were asked for.
    let words: [Word]
}

/// What is spoken, in order.
enum SpeechItem: Sendable {
    case chunk(Prompt)
    case silence(samples: Int)
}

/// From a user's text to what the model is fed: the optional steps, in their order, then chunks.
struct TextPipeline: Sendable {
    let tokenizer: any Tokenizer
    let rules: TextRules
    let manifest: Manifest
    let options: TextOptions
    let chunker: Chunker
    let normalizes: Bool

    /// Throws `TTSError.text` for a model in whose language numbers cannot be read here, where that
    /// is asked for, and `TTSError.option`.
    init(_ tokenizer: any Tokenizer, _ manifest: Manifest, _ options: TextOptions) throws {
        let maxTokens = options.maxTokens ?? manifest.generation.maxTokens
        guard maxTokens >= 1 else { throw TTSError.option("maxTokens must be at least 1.") }
        normalizes = options.normalize ?? manifest.text.normalize
        if normalizes && manifest.languages.first != "en" {
            throw TTSError.text(
                "Numbers can be read in English only, and this model speaks "
                    + "\(manifest.languages.joined(separator: ", ")): set normalize to false and "
                    + "write numbers in words.")
        }
        self.tokenizer = tokenizer
        self.manifest = manifest
        self.options = options
        rules = TextRules(manifest.text)
        chunker = Chunker(tokenizer, maxTokens: maxTokens)
    }

    /// The chunks of `text` and the pauses between them, each made when it is asked for; with their
    /// words where these are wanted.
    ///
    /// Throws `TTSError.text` at once where there is nothing to speak.
    func items(_ text: String, words: Bool = false) throws -> AnyIterator<SpeechItem> {
        let written = words ? Traced(written: text.scalars) : Traced(text.scalars)
        if !written.stripped.isEmpty && !hasSounds(written) { throw punctuationOnly }
        let segments = options.pauses ? try splitPauses(written) : [.text(written)]
        var parts: [AnyIterator<SpeechItem>] = []
        for segment in segments {
            switch segment {
            case .pause(let seconds):
                parts.append(AnyIterator(CollectionOfOne(silence(seconds)).makeIterator()))
            case .text(let text):
                let spoken = rewritten(text)
                if segments.count > 1 {
                    if spoken.stripped.isEmpty { continue }
                } else if hasSounds(text) && !hasSounds(spoken) {
                    throw withoutSounds
                }
                parts.append(try chunks(spoken, text))
            }
        }
        var remaining = parts[...]
        func next() -> SpeechItem? {
            while let items = remaining.first {
                if let item = items.next() { return item }
                remaining.removeFirst()
            }
            return nil
        }
        var first = next()
        if first == nil { throw withoutSounds }
        return AnyIterator {
            defer { first = nil }
            return first ?? next()
        }
    }

    /// The words of a text that the model leaves out, because it reads English letters only.
    func leftOut(_ text: String) -> [String] {
        guard normalizes, manifest.text.asciiOnly else { return [] }
        return EnglishWords.otherScripts(Traced(text.scalars))
    }

    private func hasSounds(_ text: Traced) -> Bool {
        text.scalars.contains { !silentMarks.contains($0) }
    }

    func silence(_ seconds: Double) -> SpeechItem {
        let samples = seconds * Double(manifest.audio.sampleRate)
        return .silence(samples: Int(samples.rounded(.toNearestOrEven)))
    }

    /// The text after everything that is done to it before the model's own rules.
    func rewritten(_ text: Traced) -> Traced {
        let text = options.plainTypography ? foldTypography(text) : text
        return normalizes ? readEnglish(text, asciiOnly: manifest.text.asciiOnly) : text
    }

    private func chunks(_ spoken: Traced, _ written: Traced) throws -> AnyIterator<SpeechItem> {
        let prepared = try rules.prepare(spoken).text.stripped
        let finder = written.isTraced ? WordFinder(tokenizer) : nil
        finder?.add(written, prepared)
        let text = prepared.scalars
        let ids = tokenizer.encode(text)
        var chunks = chunker.chunks(ids)
        if options.cutAtWords { chunks = cutAtWords(chunks) }
        if options.glueShortChunks { chunks = chunker.gluingShort(chunks) }
        var names = manifest.text.ownLetters ? WrittenWords(text, tokenizer.decode(ids)) : nil
        return AnyIterator {
            while let chunk = chunks.next() {
                let name = names?.next(chunk) ?? nil
                if let prompt = try? prompt(chunk, name: name, finder) { return .chunk(prompt) }
            }
            return nil
        }
    }

    private func cutAtWords(_ chunks: AnyIterator<Scalars>) -> AnyIterator<Scalars> {
        var parts: ArraySlice<Scalars> = []
        return AnyIterator {
            while parts.isEmpty {
                guard let chunk = chunks.next() else { return nil }
                parts = chunker.cutBetweenWords(chunk)[...]
            }
            return parts.removeFirst()
        }
    }

    /// What the model is fed for one chunk: the chunk, prepared on its own. `finder` is given every
    /// chunk of a text, in order.
    func prompt(_ chunk: Scalars, name: Scalars? = nil, _ finder: WordFinder? = nil) throws -> Prompt {
        let (text, words) = try rules.prepare(finder?.trace(chunk) ?? Traced(chunk))
        let ids = tokenizer.encode(text.scalars)
        let generation = manifest.generation
        let byWords = generation.framesAfterEosByWords
        let seconds = Double(ids.count) / generation.tokensPerSecond + generation.extraSeconds
        return Prompt(
            text: String(name ?? text.scalars),
            ids: ids,
            framesAfterEos: words < byWords.fewerThan ? byWords.then : byWords.else,
            maxFrames: Int((seconds * manifest.audio.frameRate).rounded(.up)),
            words: finder?.words(text) ?? []
        )
    }
}

/// The part of the user's text that each chunk was cut from, for a tokenizer that writes in letters
/// of its own (phonemes, say). Word by word: cutting moves spaces, but no other character.
private struct WrittenWords {
    private let words: [ArraySlice<Unicode.Scalar>]
    private let ends: [Int]  // letters read up to the end of each word
    private var first = 0
    private var taken = 0

    /// Nil where the two do not have as many words.
    init?(_ text: Scalars, _ decoded: Scalars) {
        words = text.words
        var total = 0
        ends = decoded.words.map { word in
            total += word.count
            return total
        }
        if words.count != ends.count { return nil }
    }

    mutating func next(_ chunk: Scalars) -> Scalars? {
        taken += chunk.words.reduce(0) { $0 + $1.count }
        let last = ends.firstIndex { $0 >= taken } ?? ends.count
        let written = words[min(first, words.count)..<min(max(last + 1, first), words.count)]
        first = last < ends.count && ends[last] == taken ? last + 1 : last  // a word cut in two counts twice
        return Scalars(written.joined(separator: [" "]))
    }
}
