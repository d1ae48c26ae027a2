import XCTest

@testable import PocketTTS

/// Tokenizers against the Python packages, on random Unicode strings.
final class TokenizerTests: XCTestCase {
    private struct Vocabulary: Decodable {
        let name: String
        let kind: String
        let path: String
        let cases: [Case]
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
