import Foundation
import PocketTTS

/// The words with their times (seconds) and places in the text: the same file as that of
/// `pocket-tts-jax generate --words`.
func wordsJSON(_ words: [SpokenWord]) throws -> Data {
    struct Row: Encodable {
        let text: String
        let start: Double
        let end: Double
        let chunk: Int
        let firstCharacter: Int
        let lastCharacter: Int
    }
    let rows = words.map { word in
        Row(
            text: word.text, start: (word.start * 1000).rounded() / 1000, end: (word.end * 1000).rounded() / 1000,
            chunk: word.chunk, firstCharacter: word.characters.lowerBound,
            lastCharacter: word.characters.upperBound)
    }
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(["words": rows])
}
