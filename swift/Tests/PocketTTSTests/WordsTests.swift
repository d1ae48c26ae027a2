import XCTest

@testable import PocketTTS

/// Words and their times, against what the Python package finds in the same texts, attention and
/// sound.
final class WordsTests: XCTestCase {
    private struct Recorded: Decodable {
        let shares: [SharesCase]
        let ranges: [RangesCase]
        let paths: [PathCase]
        let timers: [TimerCase]
        let exports: [Export]
    }

    private struct SharesCase: Decodable {
        let (old, new): (String, String)
        let shares: [[Int]]

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            (old, new) = (try values.decode(String.self), try values.decode(String.self))
            shares = try values.decode([[Int]].self)
        }
    }

    private struct RangesCase: Decodable {
        let text: String
        let ranges: [[Int]]

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            (text, ranges) = (try values.decode(String.self), try values.decode([[Int]].self))
        }
    }

    private struct PathCase: Decodable {
        let units: [[Int]]
        let tokens: Int
        let heads: Int
        let attention: Floats
        let places: [Int]
    }

    private struct TimerCase: Decodable {
        struct Chunk: Decodable {
            let words: [WordRow]
            let tokens: Int
            let heads: Int
            let pause: Int
            let attention: Floats
            let audio: Floats
        }

        let rate: Int
        let pace: Double
        let frame: Int
        let chunks: [Chunk]
        let spoken: [SpokenRow]
    }

    private struct Export: Decodable {
        let folder: String
        let prompts: [PromptsCase]
        let spoken: [SpokenCase]
    }

    private struct PromptsCase: Decodable {
        let text: String
        let normalize: Bool
        let pauses: Bool
        let plainTypography: Bool
        let cutAtWords: Bool
        let maxTokens: Int?
        let prompts: [[WordRow]]
    }

    private struct SpokenCase: Decodable {
        let text: String
        let seed: UInt64
        let speed: Double
        let maxTokens: Int?
        let words: [SpokenRow]

        var options: SpeechOptions {
            var options = SpeechOptions()
            options.speed = speed
            (options.text.pauses, options.text.plainTypography) = (true, true)
            options.text.maxTokens = maxTokens
            return options
        }
    }

    func testSharesOfWords() throws {
        for one in try recorded().shares {
            let found = shares(one.old.scalars, one.new.scalars)
            XCTAssertEqual(
                found.map { [$0.part.lowerBound, $0.part.upperBound, $0.length] }, one.shares, "\(one.old) | \(one.new)")
        }
    }

    func testWhereWordsAre() throws {
        for one in try recorded().ranges {
            let found = wordRanges(one.text.scalars).map { [$0.lowerBound, $0.upperBound] }
            XCTAssertEqual(found, one.ranges, one.text.debugDescription)
        }
    }

    func testPath() throws {
        for one in try recorded().paths {
            var path = WordPath(units: one.units.map { $0[0]..<$0[1] }, tokens: one.tokens)
            var places: [Int] = []
            for step in steps(one.attention, one.heads, one.tokens) { places += path.push(step) }
            XCTAssertEqual(places + path.finish(), one.places)
        }
    }

    func testTimer() throws {
        for one in try recorded().timers {
            var (timer, spoken) = (WordTimer(sampleRate: one.rate, pace: one.pace), [SpokenWord]())
            for (number, chunk) in one.chunks.enumerated() {
                timer.begin(number, chunk.words.map(\.word), tokens: chunk.tokens)
                for (frame, step) in steps(chunk.attention, chunk.heads, chunk.tokens).enumerated() {
                    let audio = chunk.audio.values[frame * one.frame..<(frame + 1) * one.frame]
                    spoken += timer.hear(Array(audio), step)
                }
                spoken += timer.end()
                timer.pause(chunk.pause)
            }
            assertEqual(spoken, one.spoken, "timer")
        }
    }

    func testWordsOfChunks() throws {
        var compared = 0
        for export in try recorded().exports {
            var options = ModelOptions()
            options.check = .never
            let model = try LoadedModel(URL(fileURLWithPath: export.folder), options)
            for one in export.prompts {
                var options = TextOptions()
                (options.normalize, options.pauses) = (one.normalize, one.pauses)
                (options.plainTypography, options.cutAtWords) = (one.plainTypography, one.cutAtWords)
                options.maxTokens = one.maxTokens
                let items = Array(try model.pipeline(options).items(one.text, words: true))
                let found = items.compactMap { item -> [Word]? in
                    guard case .chunk(let prompt) = item else { return nil }
                    return prompt.words
                }
                XCTAssertEqual(found, one.prompts.map { $0.map(\.word) }, one.text.debugDescription)
                compared += 1
            }
        }
        XCTAssertGreaterThan(compared, 300)
    }

    func testTimesOfWords() async throws {
        for export in try recorded().exports {
            let tts = try await TTSModel(folder: URL(fileURLWithPath: export.folder))
            for one in export.spoken {
                let voice = tts.defaultVoice ?? tts.voiceNames.first
                let speech = try await tts.synthesize(
                    one.text, voice: voice, seed: one.seed, options: one.options, words: true)
                assertEqual(speech.words, one.words, "\(export.folder): \(one.text)")
                let plain = try await tts.synthesize(one.text, voice: voice, seed: one.seed, options: one.options)
                XCTAssertEqual(plain.samples, speech.samples)
                XCTAssertEqual(plain.words, [])
            }
        }
    }

    func testWordsComeWhileTheyAreHeard() async throws {
        let (tts, spoken) = try await embedded()
        for one in spoken where one.speed == 1 {
            let told = Told()
            var samples = 0
            let frames = tts.stream(one.text, seed: one.seed, options: one.options, onWord: told.add)
            for try await frame in frames {
                samples += frame.samples.count
                told.now = Double(samples) / Double(tts.sampleRate)
            }
            assertEqual(told.words, one.words, one.text)
            for (word, time) in zip(told.words, told.times) {
                // Known with the frame behind `time`.
                XCTAssertLessThanOrEqual(time + 0.08 - word.end, 0.5 + 1e-9, word.text)
            }
        }
    }

    func testWordsOfASession() async throws {
        let (tts, _) = try await embedded()
        let voice = try await tts.prepareVoice(named: tts.voiceNames[0])
        // Where parts are short, a session cuts them as a whole text is cut.
        let text = "Hello there, you two. [pause:0.5] He left by the 7:15 train. <break time='1s'/> That was $12."
        for speed in [1, 0.8] {
            var options = SpeechOptions()
            (options.speed, options.text.pauses) = (speed, true)
            let whole = try await tts.synthesize(text, voice: voice, seed: 5, options: options, words: true)
            XCTAssertEqual(whole.words.count, 13)
            for size in [1, 6, 1000] {
                let told = Told()
                let session = try tts.session(voice: voice, seed: 5, options: options) { told.add($0) }
                var rest = text[...]
                while !rest.isEmpty {
                    try session.enqueue(String(rest.prefix(size)))
                    rest = rest.dropFirst(size)
                }
                try session.finish()
                for try await _ in session.frames {}
                XCTAssertEqual(told.words, whole.words)
            }
        }
    }

    func testClearedTextCountsAsTextButNotAsAudio() async throws {
        let (tts, _) = try await embedded()
        let voice = try await tts.prepareVoice(named: tts.voiceNames[0])
        let told = Told()
        let session = try tts.session(voice: voice, seed: 5) { told.add($0) }
        let first = "One two three four five six seven, eight nine ten eleven twelve thirteen. "
        try session.enqueue(first)
        try session.flush()
        var (samples, heard) = (0, 0)
        for try await frame in session.frames {
            samples += frame.samples.count
            if heard == 0 {
                session.clear()
                heard = samples
                try session.enqueue("Something else.")
                try session.finish()
            }
        }
        let later = told.words.filter { $0.characters.lowerBound >= first.unicodeScalars.count }
        XCTAssertEqual(later.map(\.text), ["Something", "else"])
        XCTAssertEqual(later[0].characters, first.unicodeScalars.count..<first.unicodeScalars.count + 9)
        let rate = Double(tts.sampleRate)
        XCTAssertGreaterThanOrEqual(later[0].start, Double(heard) / rate)
        XCTAssertLessThanOrEqual(later[1].end, Double(samples) / rate)
    }

    func testModelWithoutHeadsSaysWhatToDo() async throws {
        let (folder, _) = try Fixtures.export()
        let target = try Fixtures.temporaryFolder().appendingPathComponent("export")
        defer { try? FileManager.default.removeItem(at: target.deletingLastPathComponent()) }
        try FileManager.default.copyItem(at: folder, to: target)
        let path = target.appendingPathComponent("manifest.json")
        var manifest = try XCTUnwrap(
            JSONSerialization.jsonObject(with: Data(contentsOf: path)) as? [String: Any])
        manifest["alignment"] = nil
        try JSONSerialization.data(withJSONObject: manifest).write(to: path)
        var options = ModelOptions()
        (options.check, options.cacheFolder) = (.never, nil)
        let tts = try await TTSModel(folder: target, options: options)
        let voice = try await tts.prepareVoice(named: tts.voiceNames[0])
        do {
            _ = try await tts.synthesize("Hello.", words: true)
            XCTFail("no error")
        } catch { XCTAssert("\(error)".contains("Export it again"), "\(error)") }
        XCTAssertThrowsError(try tts.session(voice: voice) { _ in }) { XCTAssert($0 is TTSError) }
        let speech = try await tts.synthesize("Hello.")
        XCTAssertGreaterThan(speech.samples.count, 0)
    }

    /// What a callback was told, and how much had been heard by then.
    private final class Told: @unchecked Sendable {
        var now = 0.0  // the callback runs in the loop that sets it
        private(set) var words: [SpokenWord] = []
        private(set) var times: [Double] = []

        @Sendable func add(_ word: SpokenWord) {
            words.append(word)
            times.append(now)
        }
    }

    private func recorded() throws -> Recorded { try Fixtures.read("words") }

    private func embedded() async throws -> (TTSModel, [SpokenCase]) {
        guard let export = try recorded().exports.first else { throw XCTSkip("No export was given") }
        return (try await TTSModel(folder: URL(fileURLWithPath: export.folder)), export.spoken)
    }

    private func steps(_ attention: Floats, _ heads: Int, _ tokens: Int) -> [Attention] {
        stride(from: 0, to: attention.values.count, by: heads * tokens).map {
            Attention(heads: heads, tokens: tokens, weights: Array(attention.values[$0..<$0 + heads * tokens]))
        }
    }

    private func assertEqual(_ found: [SpokenWord], _ expected: [SpokenRow], _ what: String) {
        XCTAssertEqual(found.map(\.text), expected.map(\.text), what)
        XCTAssertEqual(found.map(\.chunk), expected.map(\.chunk), what)
        XCTAssertEqual(found.map(\.characters), expected.map(\.characters), what)
        for (one, other) in zip(found, expected) {
            XCTAssertEqual(one.start, other.start, accuracy: 1e-3, "\(what): \(one.text)")
            XCTAssertEqual(one.end, other.end, accuracy: 1e-3, "\(what): \(one.text)")
        }
    }
}

/// The fields of a Python `Word`, in order.
private struct WordRow: Decodable {
    let word: Word

    init(from decoder: any Decoder) throws {
        var values = try decoder.unkeyedContainer()
        let text = try values.decode(String.self)
        let numbers = try (0..<4).map { _ in try values.decode(Int.self) }
        word = Word(
            text: text, characters: numbers[0]..<numbers[1], tokens: numbers[2]..<numbers[3],
            goesOn: try values.decode(Bool.self))
    }
}

/// The fields of a Python `SpokenWord`, in order.
private struct SpokenRow: Decodable {
    let text: String
    let start: Double
    let end: Double
    let chunk: Int
    let characters: Range<Int>

    init(from decoder: any Decoder) throws {
        var values = try decoder.unkeyedContainer()
        text = try values.decode(String.self)
        (start, end) = (try values.decode(Double.self), try values.decode(Double.self))
        chunk = try values.decode(Int.self)
        let first = try values.decode(Int.self)
        characters = first..<(try values.decode(Int.self))
    }
}
