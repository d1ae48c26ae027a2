import XCTest

@testable import PocketTTS

/// Tokenizers against the Python packages, on random Unicode strings.
final class TokenizerTests: XCTestCase {
    private struct Vocabulary: Decodable {
        let name: String
        let kind: String
        let path: String
        let cases: [Case]
        let spans: [SpansCase]
    }

    private struct SpansCase: Decodable {
        let text: String
        let spans: [[Int]]
        let pieces: [String]

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            text = try values.decode(String.self)
            spans = try values.decode([[Int]].self)
            pieces = try values.decode([String].self)
        }
    }

    private struct Case: Decodable {
        let text: String
        let ids: [Int]
        let part: [Int]
        let decoded: String

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            text = try values.decode(String.self)
            ids = try values.decode([Int].self)
            part = try values.decode([Int].self)
            decoded = try values.decode(String.self)
        }
    }

    func testRandomStrings() throws {
        for vocabulary in try Fixtures.read("tokenizers", as: [Vocabulary].self) {
            let tokenizer = try open(vocabulary.kind, vocabulary.path)
            XCTAssertGreaterThanOrEqual(vocabulary.cases.count, 10_000)
            var mistakes: [String] = []
            for one in vocabulary.cases {
                let ids = tokenizer.encode(one.text.scalars)
                if ids != one.ids { mistakes.append("\(one.text.debugDescription): \(ids), not \(one.ids)") }
                let text = tokenizer.decode(one.part)
                if text != one.decoded.scalars {
                    mistakes.append("\(one.part): \(String(text).debugDescription), not \(one.decoded.debugDescription)")
                }
            }
            XCTAssert(
                mistakes.isEmpty,
                "\(vocabulary.name): \(mistakes.count) differ\n\(mistakes.prefix(5).joined(separator: "\n"))")
        }
    }

    func testWhatTokensStandFor() throws {
        for vocabulary in try Fixtures.read("tokenizers", as: [Vocabulary].self) {
            let tokenizer = try open(vocabulary.kind, vocabulary.path)
            var mistakes: [String] = []
            for one in vocabulary.spans {
                let text = one.text.scalars
                let spans = tokenizer.spans(text)
                if inner(spans, text) != inner(one.spans.map { $0[0]..<$0[1] }, text) {
                    mistakes.append("\(one.text.debugDescription): \(spans), not \(one.spans)")
                }
                // Where the text itself has U+FFFD, `tokenizers` waits for more of the character.
                if vocabulary.kind == "tokenizers" && text.contains("\u{FFFD}") { continue }
                let pieces = tokenizer.pieces(tokenizer.encode(text)).map { Scalars($0.stripped) }
                if pieces != one.pieces.map({ Scalars($0.scalars.stripped) }) {
                    mistakes.append("\(one.text.debugDescription): \(pieces.map { String($0) }), not \(one.pieces)")
                }
            }
            XCTAssert(
                mistakes.isEmpty,
                "\(vocabulary.name): \(mistakes.count) differ\n\(mistakes.prefix(5).joined(separator: "\n"))")
        }
    }

    /// The ranges without white space at their ends.
    private func inner(_ ranges: [Range<Int>], _ text: Scalars) -> [Range<Int>] {
        ranges.map { range in
            let inner = text[range].stripped
            return inner.isEmpty ? range.upperBound..<range.upperBound : inner.startIndex..<inner.endIndex
        }
    }

    func testTruncatedFilesAreRefused() throws {
        let folder = try Fixtures.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        for (kind, name) in [("sentencepiece", "words.model"), ("tokenizers", "words.json")] {
            let whole = try Data(contentsOf: Fixtures.golden.appendingPathComponent(name))
            for length in [1, 2, 10, whole.count / 2, whole.count - 1] {
                let path = folder.appendingPathComponent("\(length) \(name)")
                try whole.prefix(length).write(to: path)
                do {
                    let tokenizer = try open(kind, path.path)
                    XCTAssertLessThan(tokenizer.size, 600, "\(name) of \(length) bytes")
                } catch { XCTAssert(error is TTSError, "\(error)") }
            }
        }
    }

    func testFlippedBitsDoNotCrash() throws {
        let folder = try Fixtures.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let whole = try Data(contentsOf: Fixtures.golden.appendingPathComponent("words.model"))
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var data = whole
            data[Int.random(in: 0..<data.count, using: &generator)] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            let path = folder.appendingPathComponent("flipped.model")
            try data.write(to: path)
            guard let tokenizer = try? open("sentencepiece", path.path) else { continue }
            _ = tokenizer.decode(tokenizer.encode("Come in, she said. 日本 😀!".scalars))
        }
    }

    private func open(_ kind: String, _ path: String) throws -> any Tokenizer {
        kind == "sentencepiece" ? try SentencePieceTokenizer(path) : try JSONTokenizer(path)
    }
}

/// The vocabularies that the golden files were made with.
enum GoldenTokenizers {
    static func open(_ name: String) throws -> any Tokenizer {
        let path = Fixtures.golden.appendingPathComponent(name).path
        return name.hasSuffix(".model") ? try SentencePieceTokenizer(path) : try JSONTokenizer(path)
    }
}
