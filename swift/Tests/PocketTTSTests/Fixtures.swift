import Foundation
import XCTest

/// Where the tests find files.
enum Fixtures {
    /// The repository.
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static let golden = root.appendingPathComponent("tests/golden")

    /// What `python -m tests.swift.fixtures` wrote of one subject.
    static func read<Value: Decodable>(_ name: String, as type: Value.Type = Value.self) throws -> Value {
        guard let folder = ProcessInfo.processInfo.environment["POCKET_TTS_FIXTURES"] else {
            throw XCTSkip(
                "POCKET_TTS_FIXTURES names no folder: run pytest tests/swift, which makes one")
        }
        return try decode(URL(fileURLWithPath: folder).appendingPathComponent(name + ".json"))
    }

    static func golden<Value: Decodable>(_ name: String, as type: Value.Type = Value.self) throws -> Value {
        try decode(golden.appendingPathComponent(name))
    }

    /// An export whose speech was recorded; skips where there is none.
    static func export() throws -> (folder: URL, texts: [SpokenText]) {
        guard let first = try read("speech", as: [RecordedSpeech].self).first else {
            throw XCTSkip("No export was given to tests.swift.fixtures")
        }
        return (URL(fileURLWithPath: first.folder), first.texts)
    }

    static func temporaryFolder() throws -> URL {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("pocket-tts-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url
    }

    private static func decode<Value: Decodable>(_ url: URL) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Value.self, from: Data(contentsOf: url))
    }
}

struct RecordedSpeech: Decodable {
    let folder: String
    let texts: [SpokenText]
}

struct SpokenText: Decodable {
    let text: String
    let voice: String
    let seed: UInt64
    let temperature: Double?
    let audio: Floats
}

/// Float32 values in base64.
struct Floats: Decodable {
    let values: [Float]

    init(from decoder: any Decoder) throws {
        let data = try decoder.singleValueContainer().decode(Data.self)
        values = data.withUnsafeBytes { bytes in
            (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
    }
}

func largestDifference(_ a: [Float], _ b: [Float]) -> Float {
    guard a.count == b.count else { return .infinity }
    return zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
}
