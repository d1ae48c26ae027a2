import XCTest

@testable import PocketTTS

/// Preparation and chunks against the reference's (`tests/golden`) and the Python package's.
final class TextTests: XCTestCase {
    private struct Golden: Decodable {
        struct Rules: Decodable {
            let padWithSpacesForShortInputs: Bool
            let removeSemicolons: Bool
            let appendTerminalPunctuation: Bool
            let capitalizeFirstLetter: Bool
            let replaceCharacters: [String: String]
        }

        struct Case: Decodable {
            let text: String
            let tokenizer: String
            let rules: String
            let maxTokens: Int
            let prompts: [Prompt]?
            let chunks: [String]?
            let error: String?
        }

        struct Prompt: Decodable, Equatable {
            let text: String
            let ids: [Int]
            let framesAfterEos: Int
            let maxFrames: Int

            init(from decoder: any Decoder) throws {
                var values = try decoder.unkeyedContainer()
                text = try values.decode(String.self)
                ids = try values.decode([Int].self)
                framesAfterEos = try values.decode(Int.self)
                maxFrames = try values.decode(Int.self)
            }
        }

        let rules: [String: Rules]
        let cases: [Case]
    }

    func testGoldenTexts() throws {
        let golden = try Fixtures.golden("text.json", as: Golden.self)
        var tokenizers: [String: any Tokenizer] = [:]
        for one in golden.cases {
            let tokenizer = try tokenizers[one.tokenizer] ?? GoldenTokenizers.open(one.tokenizer)
            tokenizers[one.tokenizer] = tokenizer
            let rules = try XCTUnwrap(golden.rules[one.rules])
            var options = TextOptions()
            options.maxTokens = one.maxTokens
            let pipeline = try TextPipeline(tokenizer, manifest(rules), options)
            do {
                let items = Array(try pipeline.items(one.text))
                let prompts = items.compactMap { item -> Prompt? in
                    if case .chunk(let prompt) = item { return prompt }
                    return nil
                }
                XCTAssertNil(one.error, one.text)
                let expected = try XCTUnwrap(one.prompts)
                XCTAssertEqual(prompts.map(\.text.scalars), expected.map(\.text.scalars), one.text)
                XCTAssertEqual(prompts.map(\.ids), expected.map(\.ids), one.text)
                XCTAssertEqual(prompts.map(\.maxFrames), expected.map(\.maxFrames), one.text)
                XCTAssertEqual(prompts.map(\.framesAfterEos), expected.map(\.framesAfterEos), one.text)
                if let chunks = one.chunks {
                    let ids = tokenizer.encode(try pipeline.rules.prepare(Traced(one.text.scalars)).text.stripped.scalars)
                    XCTAssertEqual(Array(pipeline.chunker.chunks(ids)), chunks.map(\.scalars), one.text)
                }
            } catch let error as TTSError where error == punctuationOnly {  // the reference speaks it
                XCTAssert(one.text.unicodeScalars.allSatisfy(silentMarks.contains), one.text)
            } catch let error as TTSError {
                XCTAssertNotNil(one.error, "\(one.text): \(error)")
            }
        }
        XCTAssertGreaterThan(golden.cases.count, 700)
    }

    private struct ChunkCase: Decodable {
        let text: String
        let tokenizer: String
        let maxTokens: Int
        let chunks: [String]
        let cutAtWords: Bool
        let glueShort: Bool
    }

    func testOtherWaysOfCutting() throws {
        for one in try Fixtures.read("chunks", as: [ChunkCase].self) {
            let chunker = Chunker(try GoldenTokenizers.open(one.tokenizer), maxTokens: one.maxTokens)
            var chunks = chunker.chunks(chunker.tokenizer.encode(one.text.scalars))
            if one.cutAtWords { chunks = AnyIterator(Array(chunks).flatMap(chunker.cutBetweenWords).makeIterator()) }
            if one.glueShort { chunks = chunker.gluingShort(chunks) }
            XCTAssertEqual(Array(chunks).map { String($0) }, one.chunks, one.text)
        }
    }

    private struct StreamCase: Decodable {
        let tokenizer: String
        let maxTokens: Int
        let pieces: [String]
        let chunks: [String]
    }

    func testTextInPiecesIsCutLikeTheWhole() throws {
        for one in try Fixtures.read("streams", as: [StreamCase].self) {
            var options = TextOptions()
            options.maxTokens = one.maxTokens
            let pipeline = try TextPipeline(GoldenTokenizers.open(one.tokenizer), manifest(nil), options)
            func chunks(firstSentenceAtOnce: Bool) throws -> [String] {
                var stream = try TextStream(pipeline, firstSentenceAtOnce: firstSentenceAtOnce)
                var chunks = one.pieces.flatMap { stream.feed(Traced($0.scalars)) }
                chunks += stream.flush()
                return chunks.map { String($0) }
            }
            XCTAssertEqual(try chunks(firstSentenceAtOnce: false), one.chunks, one.pieces.joined(separator: "|"))
            // The first sentence by itself: other chunks, but the same words.
            let early = try chunks(firstSentenceAtOnce: true)
            XCTAssertEqual(
                early.joined(separator: " ").scalars.words, one.chunks.joined(separator: " ").scalars.words)
            XCTAssertLessThanOrEqual(try XCTUnwrap(early.first).count, try XCTUnwrap(one.chunks.first).count)
        }
    }

    func testTypography() throws {
        for (text, folded) in try Fixtures.read("typography", as: [Pair<String>].self).map(\.both) {
            XCTAssertEqual(foldTypography(Traced(text.scalars)).scalars, folded?.scalars, text.debugDescription)
        }
    }

    func testPauses() throws {
        for (text, expected) in try Fixtures.read("pauses", as: [Pair<[TextOrNumber]>].self).map(\.both) {
            let found = try? splitPauses(Traced(text.scalars))
            XCTAssertEqual(found, expected?.map(\.segment), text.debugDescription)
        }
    }

    func testPausesInPieces() throws {
        var compared = 0
        for (text, expected) in try Fixtures.read("pauses", as: [Pair<[TextOrNumber]>].self).map(\.both) {
            // Marks in front of the first word are dropped of a whole text only.
            guard let expected, text.scalars.first?.isLetterOrNumber == true else { continue }
            for size in [1, 5, 1000] {
                var (stream, found) = (PauseStream(), [Segment]())
                var rest = text.scalars[...]
                while !rest.isEmpty {
                    found += try stream.feed(Traced(Scalars(rest.prefix(size))))
                    rest = rest.dropFirst(size)
                }
                found += try stream.flush()
                XCTAssertEqual(joined(found), joined(expected.map(\.segment)), text.debugDescription)
            }
            compared += 1
        }
        XCTAssertGreaterThan(compared, 40)
        var stream = PauseStream()
        XCTAssertEqual(try stream.feed(Traced("One. [pause:1] a [pau".scalars)).count, 3)
        XCTAssertThrowsError(try stream.feed(Traced("se:x] b".scalars)))
    }

    /// Parts of one text as one, without space around it.
    private func joined(_ segments: [Segment]) -> [Segment] {
        var result: [Segment] = []
        for segment in segments {
            if case .text(let more) = segment, case .text(let before)? = result.last {
                result[result.count - 1] = .text(before + more)
            } else {
                result.append(segment)
            }
        }
        return result.compactMap { segment in
            guard case .text(let text) = segment else { return segment }
            return text.stripped.isEmpty ? nil : .text(text.stripped)
        }
    }

    func testNothingToSpeak() throws {
        let pipeline = try TextPipeline(GoldenTokenizers.open("words.model"), manifest(nil), TextOptions())
        for text in ["", " \n ", "\u{2003}"] {
            XCTAssertThrowsError(try pipeline.items(text)) { XCTAssertEqual($0 as? TTSError, nothingToSpeak) }
        }
        XCTAssertThrowsError(try pipeline.items("… !")) { XCTAssertEqual($0 as? TTSError, punctuationOnly) }
    }

    func testWordsOfOtherScriptsAreNamed() throws {
        let tokenizer = try GoldenTokenizers.open("words.model")
        var options = TextOptions()
        options.normalize = true
        let pipeline = try TextPipeline(tokenizer, manifest(nil, asciiOnly: true), options)
        XCTAssertEqual(pipeline.leftOut("Привет, café! 世界 (5 €)"), ["Привет", "世界"])
        XCTAssertEqual(pipeline.leftOut("Naïve, as ever."), [])
        XCTAssertThrowsError(try pipeline.items("Привет!")) { XCTAssertEqual($0 as? TTSError, withoutSounds) }
        XCTAssertEqual(try TextPipeline(tokenizer, manifest(nil), options).leftOut("Привет"), [])
    }

    func testOtherLanguagesSayThatTheyAreNotThere() throws {
        var options = TextOptions()
        options.normalize = true
        let french = try manifest(nil, languages: ["fr"])
        XCTAssertThrowsError(try TextPipeline(GoldenTokenizers.open("words.model"), french, options)) {
            XCTAssert(($0 as? TTSError)?.message.contains("English only") == true)
        }
    }

    private func manifest(
        _ rules: Golden.Rules?, languages: [String] = ["en"], asciiOnly: Bool = false
    ) throws -> Manifest {
        try TestManifest.make(
            languages: languages,
            text: [
                "pad_with_spaces_for_short_inputs": rules?.padWithSpacesForShortInputs ?? false,
                "remove_semicolons": rules?.removeSemicolons ?? false,
                "append_terminal_punctuation": rules?.appendTerminalPunctuation ?? true,
                "capitalize_first_letter": rules?.capitalizeFirstLetter ?? true,
                "replace_characters": rules?.replaceCharacters ?? [:],
                "normalize": false, "ascii_only": asciiOnly, "own_letters": false,
            ])
    }
}

/// [input, what became of it]; nil where it was refused.
struct Pair<Value: Decodable>: Decodable {
    let both: (String, Value?)

    init(from decoder: any Decoder) throws {
        var values = try decoder.unkeyedContainer()
        both = (try values.decode(String.self), try values.decodeIfPresent(Value.self))
    }
}

struct TextOrNumber: Decodable {
    let segment: Segment

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let seconds = try? value.decode(Double.self) {
            segment = .pause(seconds: seconds)
        } else {
            segment = .text(Traced(try value.decode(String.self).scalars))
        }
    }
}

/// A manifest with the values of the published models.
enum TestManifest {
    static func make(languages: [String], text: [String: Any]) throws -> Manifest {
        let fields: [String: Any] = [
            "format": ModelFolder.format, "format_version": ModelFolder.formatVersion, "model": "test",
            "precision": "fp32", "fingerprint": "", "languages": languages,
            "voices": ["default": NSNull(), "names": [String]()],
            "tokenizer": ["kind": "sentencepiece", "path": "tokenizer.model", "size": 600], "text": text,
            "audio": [
                "sample_rate": 24000, "frame_size": 1920, "frame_rate": 12.5, "steps_per_frame": 16,
                "fade_in_samples": 120, "decoder_schedule": [1, 1, 2, 4],
            ],
            "generation": [
                "flow_steps": [1], "temperature": 0.7, "eos_threshold": -4, "frames_before_eos": 6,
                "max_tokens": 50, "frames_after_eos": NSNull(),
                "frames_after_eos_by_words": ["fewer_than": 5, "then": 5, "else": 3],
                "tokens_per_second": 3, "extra_seconds": 2,
            ],
            "cache": ["layers": 1, "kv_heads": 1, "head_dim": 2, "capacities": [256]],
            "constants": ["bos": [0.0], "voice_start": NSNull()], "files": [String: String](),
        ]
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Manifest.self, from: JSONSerialization.data(withJSONObject: fields))
    }
}
