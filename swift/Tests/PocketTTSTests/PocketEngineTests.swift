import XCTest

@testable import PocketTTS

/// The interface that apps with the Rust engine know.
final class PocketEngineTests: XCTestCase {
    private func engine() throws -> (PocketTTSEngine, [SpokenText]) {
        let (folder, texts) = try Fixtures.export()
        return (try PocketTTSEngine(modelPath: folder.path), texts)
    }

    private final class Handler: TTSEventHandler {
        var samples: [Float] = []
        var finals = 0
        var progress: [Float] = []
        var completed = false
        var failure: String?
        var onChunk: () -> Void = {}

        func onAudioChunk(chunk: AudioChunk) {
            samples += chunk.audioData.withUnsafeBytes { bytes in
                (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
            }
            finals += chunk.isFinal ? 1 : 0
            onChunk()
        }

        func onProgress(progress: Float) { self.progress.append(progress) }
        func onComplete() { completed = true }
        func onError(message: String) { failure = message }
    }

    func testDefaultsAndRanges() throws {
        let config = TTSConfig()
        XCTAssertEqual(config, TTSConfig(voiceIndex: 0, temperature: 0.7, topP: 0.9, speed: 1, consistencySteps: 2, useFixedSeed: false, seed: 42))
        XCTAssertEqual(TTSConfig.lowLatency.consistencySteps, 1)
        XCTAssertEqual(TTSConfig.highQuality.consistencySteps, 4)
        XCTAssertNoThrow(try config.validate())
        for wrong in [
            TTSConfig(voiceIndex: 8), TTSConfig(temperature: 1.1), TTSConfig(topP: 0), TTSConfig(speed: 0.4),
            TTSConfig(consistencySteps: 5), TTSConfig(temperature: .nan),
        ] {
            XCTAssertThrowsError(try wrong.validate()) {
                guard case .InvalidConfig = $0 as? PocketTTSError else { return XCTFail("\($0)") }
            }
        }
    }

    func testSynthesizeAndStream() throws {
        let (engine, texts) = try engine()
        XCTAssert(engine.isReady())
        XCTAssertGreaterThan(try engine.parameterCount(), 1_000_000)
        var config = TTSConfig(topP: 1, consistencySteps: 1, useFixedSeed: true, seed: texts[4].seed)
        config.temperature = 0.5
        try engine.configure(config: config)
        XCTAssertEqual(engine.getConfig(), config)
        let handler = Handler()
        try engine.startTrueStreaming(text: texts[4].text, handler: handler)
        XCTAssertLessThan(largestDifference(handler.samples, texts[4].audio.values), 1e-6)
        XCTAssertEqual(handler.finals, 1)
        XCTAssert(handler.completed)
        XCTAssertEqual(handler.progress.last, 1)
        let result = try engine.synthesize(text: texts[4].text)
        XCTAssertEqual(result.channels, 1)
        XCTAssertEqual(result.audioData, wavFile(texts[4].audio.values, 24_000))
        XCTAssertEqual(try engine.synthesizeWithVoice(text: texts[4].text, voiceIndex: 0), result)
        XCTAssertThrowsError(try engine.synthesizeWithVoice(text: "Hello", voiceIndex: 7))
        let silent = Handler()
        try engine.startTrueStreaming(text: " ", handler: silent)
        XCTAssertNotNil(silent.failure)
    }

    func testCancelEndsTheCall() throws {
        let (engine, texts) = try engine()
        let handler = Handler()
        handler.onChunk = { engine.cancel() }
        try engine.startTrueStreaming(text: texts[3].text, handler: handler)
        XCTAssertFalse(handler.completed)
        XCTAssertLessThanOrEqual(handler.samples.count, 3 * 1920)
        XCTAssertNoThrow(try engine.synthesize(text: "Hello."))
    }

    func testUnload() throws {
        let (engine, _) = try engine()
        engine.unload()
        XCTAssertFalse(engine.isReady())
        XCTAssertThrowsError(try engine.synthesize(text: "Hello")) {
            guard case .ModelNotLoaded = $0 as? PocketTTSError else { return XCTFail("\($0)") }
        }
        engine.unload()
    }

    func testLatentsAndRecordings() throws {
        let (engine, _) = try engine()
        let latents = Data(count: 3 * 4 * 32)
        XCTAssertEqual(try engine.decodeLatents(latents: latents, n: 3).count, 3 * 4 * 1920)
        XCTAssertThrowsError(try engine.decodeLatents(latents: latents, n: 2))
        XCTAssertThrowsError(try engine.setReferenceAudio(audioData: Data(count: 3), sampleRate: 24_000)) {
            guard case .InvalidVoice = $0 as? PocketTTSError else { return XCTFail("\($0)") }
        }
        XCTAssertThrowsError(try PocketTTSEngine(modelPath: "/nowhere")) {
            guard case .IoError = $0 as? PocketTTSError else { return XCTFail("\($0)") }
        }
    }
}
