import XCTest

@testable import PocketTTS

/// Damaged folders and files: a thrown error, never a crash.
final class FaultTests: XCTestCase {
    private func copy() throws -> URL {
        let (folder, _) = try Fixtures.export()
        let target = try Fixtures.temporaryFolder().appendingPathComponent("export")
        try FileManager.default.copyItem(at: folder, to: target)
        return target
    }

    private func expectError(_ folder: URL, check: ModelOptions.Check = .always, _ what: String) async {
        var options = ModelOptions()
        (options.check, options.cacheFolder) = (check, nil)
        do {
            _ = try await TTSModel(folder: folder, options: options)
            XCTFail("\(what) was accepted")
        } catch { XCTAssert(error is TTSError, "\(what): \(error)") }
    }

    func testTruncatedFiles() async throws {
        let folder = try copy()
        defer { try? FileManager.default.removeItem(at: folder.deletingLastPathComponent()) }
        for name in ["flow_lm.tflite", "mimi_decoder.tflite", "tokenizer.model", "manifest.json"] {
            let path = folder.appendingPathComponent(name)
            let whole = try Data(contentsOf: path)
            for length in [0, 1, whole.count / 2, whole.count - 3] {
                try whole.prefix(length).write(to: path)
                for check in [ModelOptions.Check.always, .never] {
                    await expectError(folder, check: check, "\(name) of \(length) bytes")
                }
            }
            try FileManager.default.removeItem(at: path)
            await expectError(folder, "no \(name)")
            try whole.write(to: path)
        }
    }

    func testFlippedBits() async throws {
        let folder = try copy()
        defer { try? FileManager.default.removeItem(at: folder.deletingLastPathComponent()) }
        for name in ["flow_lm.tflite", "mimi_decoder.tflite", "tokenizer.model"] {
            let path = folder.appendingPathComponent(name)
            let whole = try Data(contentsOf: path)
            for place in [0, 100, whole.count / 2, whole.count - 1] {
                var data = whole
                data[place] ^= 0x10
                try data.write(to: path)
                await expectError(folder, "\(name) with a flipped bit at \(place)")
            }
            try whole.write(to: path)
        }
        let voice = folder.appendingPathComponent("voices/joe.safetensors")
        if let whole = try? Data(contentsOf: voice) {
            var data = whole
            data[whole.count - 5] ^= 0x10
            try data.write(to: voice)
            await expectError(folder, "a voice with a flipped bit")
        }
    }

    /// The manifest has sizes that memory is taken for: the hash of `SHA256SUMS` finds every change,
    /// and without it what is impossible is refused.
    func testFlippedBitsOfTheManifest() async throws {
        let folder = try copy()
        defer { try? FileManager.default.removeItem(at: folder.deletingLastPathComponent()) }
        let path = folder.appendingPathComponent("manifest.json")
        let whole = try Data(contentsOf: path)
        var generator = SystemRandomNumberGenerator()
        var options = ModelOptions()
        options.cacheFolder = nil
        for i in 0..<200 {
            var data = whole
            let place = Int.random(in: 0..<min(data.count, i % 2 == 0 ? 4000 : data.count), using: &generator)
            data[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            try data.write(to: path)
            let what = "manifest.json with a changed byte at \(place)"
            if i < 20 { await expectError(folder, what) }
            options.check = .never
            do {
                let tts = try await TTSModel(folder: folder, options: options)
                for try await _ in tts.stream("Hello there.", seed: 1) { break }
            } catch { XCTAssert(error is TTSError, "\(what): \(error)") }
        }
    }

    func testAFileThatChangedAfterItWasCheckedIsCheckedAgain() async throws {
        let folder = try copy()
        let cache = try Fixtures.temporaryFolder()
        defer {
            try? FileManager.default.removeItem(at: folder.deletingLastPathComponent())
            try? FileManager.default.removeItem(at: cache)
        }
        var options = ModelOptions()
        options.cacheFolder = cache
        for _ in 0..<2 { _ = try await TTSModel(folder: folder, options: options) }
        let path = folder.appendingPathComponent("tokenizer.model")
        var data = try Data(contentsOf: path)
        data[data.count / 2] ^= 1
        try data.write(to: path)
        do {
            _ = try await TTSModel(folder: folder, options: options)
            XCTFail("a changed file was accepted")
        } catch { XCTAssert(error is TTSError, "\(error)") }
    }

    func testDamagedPackedWeightsAreBuiltAgain() async throws {
        let (folder, texts) = try Fixtures.export()
        let cache = try Fixtures.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: cache) }
        var options = ModelOptions()
        options.cacheFolder = cache
        let names = { try FileManager.default.contentsOfDirectory(atPath: cache.path).filter { $0.hasSuffix(".xnnpack") } }
        for _ in 0..<2 {
            let tts = try await TTSModel(folder: folder, options: options)
            let speech = try await tts.synthesize(texts[2].text, seed: texts[2].seed)
            XCTAssertLessThan(largestDifference(speech.samples, texts[2].audio.values), 1e-6)
            tts.unload()
            XCTAssertEqual(try names().count, 2)
            for name in try names() {
                let path = cache.appendingPathComponent(name)
                try Data(contentsOf: path).prefix(1000).write(to: path)
            }
        }
    }

    func testAnotherFormatVersionSaysSo() async throws {
        let folder = try copy()
        defer { try? FileManager.default.removeItem(at: folder.deletingLastPathComponent()) }
        let path = folder.appendingPathComponent("manifest.json")
        let text = try String(contentsOf: path, encoding: .utf8)
        try text.replacingOccurrences(of: "\"format_version\": 2", with: "\"format_version\": 3")
            .write(to: path, atomically: true, encoding: .utf8)
        do {
            _ = try await TTSModel(folder: folder)
            XCTFail("accepted")
        } catch { XCTAssert("\(error)".contains("format version 3"), "\(error)") }
    }

    func testDamagedVoiceFiles() async throws {
        let (folder, _) = try Fixtures.export()
        let tts = try await TTSModel(folder: folder)
        let place = try Fixtures.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: place) }
        let whole = try Data(contentsOf: folder.appendingPathComponent("voices/\(tts.voiceNames[0]).safetensors"))
        var generator = SystemRandomNumberGenerator()
        for i in 0..<100 {
            var data = i < 20 ? whole.prefix(i * whole.count / 20) : whole
            if i >= 20 { data[Int.random(in: 0..<data.count, using: &generator)] ^= 1 << UInt8.random(in: 0..<8, using: &generator) }
            let path = place.appendingPathComponent("\(i).safetensors")
            try data.write(to: path)
            do { _ = try await tts.prepareVoice(file: path) } catch { XCTAssert(error is TTSError, "\(error)") }
        }
    }

    func testCallsAfterUnloadThrow() async throws {
        let (folder, texts) = try Fixtures.export()
        let tts = try await TTSModel(folder: folder)
        tts.unload()
        do {
            _ = try await tts.synthesize(texts[0].text)
            XCTFail("spoken")
        } catch { XCTAssert(error is TTSError, "\(error)") }
    }
}
