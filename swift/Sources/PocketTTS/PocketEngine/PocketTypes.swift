import Foundation

// The types of the interface that apps with the Rust engine know: same names, fields, ranges,
// defaults and errors. Every field does what it says, or is refused.

/// What the calls of ``PocketTTSEngine`` throw. The cases are spelled as in the bindings that apps
/// have been written against.
public enum PocketTTSError: Error, Equatable, Sendable {
    /// The engine was unloaded.
    case ModelNotLoaded(message: String)
    /// The model folder cannot be used.
    case ModelLoadFailed(message: String)
    /// There is nothing to speak in a text.
    case TokenizationFailed(message: String)
    /// Speech could not be generated.
    case InferenceFailed(message: String)
    /// There is no such voice, or the reference audio cannot be used.
    case InvalidVoice(message: String)
    /// A setting is outside its range, or this model cannot follow it.
    case InvalidConfig(message: String)
    /// Audio could not be put into its container.
    case AudioEncodingFailed(message: String)
    /// A file could not be read.
    case IoError(message: String)
}

/// A voice that ``TTSConfig/voiceIndex`` can choose.
public struct PocketVoiceInfo: Equatable, Sendable {
    public let index: UInt32
    public let name: String
    public let gender: String
    public let description: String
}

/// How to speak.
public struct TTSConfig: Equatable, Sendable {
    /// 0 to 7, into the voices of the model.
    public var voiceIndex: UInt32
    /// 0 to 1, variance of the noise that latents are drawn from.
    public var temperature: Float
    /// 0.1 to 1, the middle part of the normal distribution that the noise is drawn from: it is
    /// truncated at the quantiles (1 ± topP) / 2. 1 leaves it whole.
    public var topP: Float
    /// 0.5 to 2, a time stretch that keeps the pitch.
    public var speed: Float
    /// 1 to 4, evaluations of the flow head per frame. Models whose head makes a latent in one step
    /// take 1 only.
    public var consistencySteps: UInt32
    /// With `seed`: the same text and settings then give the same samples.
    public var useFixedSeed: Bool
    public var seed: UInt64

    public init(
        voiceIndex: UInt32 = 0, temperature: Float = 0.7, topP: Float = 0.9, speed: Float = 1,
        consistencySteps: UInt32 = 2, useFixedSeed: Bool = false, seed: UInt64 = 42
    ) {
        (self.voiceIndex, self.temperature, self.topP, self.speed) = (voiceIndex, temperature, topP, speed)
        (self.consistencySteps, self.useFixedSeed, self.seed) = (consistencySteps, useFixedSeed, seed)
    }

    /// One evaluation of the flow head per frame.
    public static let lowLatency = TTSConfig(consistencySteps: 1)
    /// Four evaluations of the flow head per frame.
    public static let highQuality = TTSConfig(consistencySteps: 4)

    /// Throws `InvalidConfig` with every setting that is outside its range.
    public func validate() throws {
        let ranges: [(String, Float, ClosedRange<Float>)] = [
            ("voiceIndex", Float(voiceIndex), 0...7), ("temperature", temperature, 0...1),
            ("topP", topP, 0.1...1), ("speed", speed, 0.5...2),
            ("consistencySteps", Float(consistencySteps), 1...4),
        ]
        let mistakes = ranges.filter { !$0.2.contains($0.1) }.map {
            "\($0.0) must be from \($0.2.lowerBound) to \($0.2.upperBound), got \($0.1)"
        }
        guard mistakes.isEmpty else {
            throw PocketTTSError.InvalidConfig(message: mistakes.joined(separator: "; "))
        }
    }
}

/// A piece of a stream: mono samples as float32, little-endian. The last one may be empty.
public struct AudioChunk: Equatable, Sendable {
    public let audioData: Data
    public let sampleRate: UInt32
    public let isFinal: Bool
}

/// A whole utterance; `audioData` is a WAV file with 16-bit samples.
public struct SynthesisResult: Equatable, Sendable {
    public let audioData: Data
    public let sampleRate: UInt32
    public let channels: UInt32
    public let durationSeconds: Double
}

/// What a caller of ``PocketTTSEngine/startTrueStreaming(text:handler:)`` is told.
public protocol TTSEventHandler: AnyObject {
    func onAudioChunk(chunk: AudioChunk)
    /// Share of the text that has been spoken, 0 to 1.
    func onProgress(progress: Float)
    func onComplete()
    func onError(message: String)
}
