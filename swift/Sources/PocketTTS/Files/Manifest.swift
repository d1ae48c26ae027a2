import Foundation

/// `manifest.json` of an export, as far as a program that speaks needs it (docs/contract.md).
struct Manifest: Decodable {
    struct Audio: Decodable {
        let sampleRate: Int
        let frameSize: Int
        let frameRate: Double
        let stepsPerFrame: Int
        let fadeInSamples: Int
        let decoderSchedule: [Int]
    }

    struct Generation: Decodable {
        struct FramesAfterEos: Decodable {
            let fewerThan: Int
            let then: Int
            let `else`: Int
        }

        let flowSteps: [Int]
        let temperature: Double
        let eosThreshold: Double
        let framesBeforeEos: Int
        let maxTokens: Int
        let framesAfterEos: Int?
        let framesAfterEosByWords: FramesAfterEos
        let tokensPerSecond: Double
        let extraSeconds: Double
    }

    struct Cache: Decodable {
        let layers: Int
        let kvHeads: Int
        let headDim: Int
        let capacities: [Int]
    }

    struct Alignment: Decodable {
        /// [layer, head] of what the attention output of a step holds.
        let heads: [[Int]]
    }

    struct Constants: Decodable {
        let bos: [Float]
        let voiceStart: [Float]?
    }

    struct Tokenizer: Decodable {
        let kind: String
        let path: String
        let size: Int
    }

    struct Voices: Decodable {
        let `default`: String?
        let names: [String]
    }

    struct Text: Decodable {
        let padWithSpacesForShortInputs: Bool
        let removeSemicolons: Bool
        let appendTerminalPunctuation: Bool
        let capitalizeFirstLetter: Bool
        let replaceCharacters: [String: String]
        let normalize: Bool
        let asciiOnly: Bool
        let ownLetters: Bool
    }

    struct File: Decodable {
        let size: Int
        let sha256: String
    }

    let format: String
    let formatVersion: Int
    let model: String
    let precision: String
    let fingerprint: String
    /// Numbers in the model's weights; exports of early versions do not say it.
    let parameters: Int?
    let languages: [String]
    let voices: Voices
    let audio: Audio
    let generation: Generation
    let cache: Cache
    let alignment: Alignment?
    let constants: Constants
    let tokenizer: Tokenizer
    let text: Text
    let files: [String: File]
}
