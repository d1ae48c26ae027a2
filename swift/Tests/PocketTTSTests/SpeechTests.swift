import XCTest

@testable import PocketTTS

/// Whole texts through an export, against the Python LiteRT engine and against each other.
final class SpeechTests: XCTestCase {
    private static let loaded = Loaded()

    /// One model for all tests.
    private actor Loaded {
        private var model: TTSModel?

        func get(_ folder: URL) async throws -> TTSModel {
            if let model { return model }
            let loaded = try await TTSModel(folder: folder)
            model = loaded
            return loaded
        }
    }

    private func model() async throws -> (TTSModel, [SpokenText]) {
        let (folder, texts) = try Fixtures.export()
        return (try await SpeechTests.loaded.get(folder), texts)
    }

    func testSameSamplesAsPython() async throws {
        for recorded in try Fixtures.read("speech", as: [RecordedSpeech].self) {
            let tts = try await TTSModel(folder: URL(fileURLWithPath: recorded.folder))
            for one in recorded.texts {
                var options = SpeechOptions()
                options.temperature = one.temperature
                let speech = try await tts.synthesize(
                    one.text, voice: one.voice, seed: one.seed, options: options)
                XCTAssertLessThan(
                    largestDifference(speech.samples, one.audio.values), 1e-6,
                    "\(recorded.folder): \(one.voice): \(one.text)")
            }
        }
    }

    func testStreamingGivesTheSameFrames() async throws {
        let (tts, texts) = try await model()
        for one in texts.prefix(2) {
            var samples: [Float] = []
            for try await frame in tts.stream(one.text, seed: one.seed) {
                XCTAssertEqual(frame.samples.count, 1920)
                samples += frame.samples
            }
            XCTAssertLessThan(largestDifference(samples, one.audio.values), 1e-6)
        }
    }

    func testTasksAtOnceEqualSerialRuns() async throws {
        let (tts, texts) = try await model()
        let jobs = (0..<8).map { (texts[$0 % 4].text, UInt64($0)) }
        var options = SpeechOptions()
        options.temperature = 0.5
        var serial: [[Float]] = []
        for (text, seed) in jobs { serial.append(try await tts.synthesize(text, seed: seed, options: options).samples) }
        let together = try await withThrowingTaskGroup(of: (Int, [Float]).self) { [options] group in
            for (i, (text, seed)) in jobs.enumerated() {
                group.addTask { (i, try await tts.synthesize(text, seed: seed, options: options).samples) }
            }
            return try await group.reduce(into: [[Float]](repeating: [], count: 8)) { $0[$1.0] = $1.1 }
        }
        XCTAssertEqual(together, serial)
    }

    func testManyCancels() async throws {
        let (tts, texts) = try await model()
        let text = texts[3].text
        for i in 0..<200 {
            let task = Task { () -> Int in
                var frames = 0
                for try await _ in tts.stream(text, seed: 1) { frames += 1 }
                return frames
            }
            try await Task.sleep(nanoseconds: UInt64(i % 20) * 1_000_000)
            task.cancel()
            do {
                let frames = try await task.value
                XCTAssertGreaterThan(frames, 0)  // it was faster than the cancel
            } catch { XCTAssert(error is CancellationError, "\(error)") }
        }
        let after = try await tts.synthesize(texts[0].text, seed: texts[0].seed)
        XCTAssertLessThan(largestDifference(after.samples, texts[0].audio.values), 1e-6)
    }

    func testLeavingALoopStopsTheModel() async throws {
        let (tts, texts) = try await model()
        for _ in 0..<20 {
            for try await frame in tts.stream(texts[3].text, seed: 1) where !frame.samples.isEmpty { break }
        }
        let after = try await tts.synthesize(texts[2].text, seed: texts[2].seed)
        XCTAssertLessThan(largestDifference(after.samples, texts[2].audio.values), 1e-6)
    }

    func testMemoryStaysFlat() async throws {
        let (tts, _) = try await model()
        func speak(_ count: Int) async throws {
            for i in 0..<count { _ = try await tts.synthesize("Hi there.", seed: UInt64(i)) }
        }
        try await speak(50)
        let before = residentMemory()
        let count = 500
        try await speak(count)
        let growth = residentMemory() - before
        XCTAssertLessThan(growth, count * 50_000, "\(growth / count) bytes an utterance")
    }

    func testSessionSpeaksLikeTheWholeText() async throws {
        let (tts, _) = try await model()
        let voice = try await tts.prepareVoice(named: tts.voiceNames[0])
        let text = "Hello there. Dr. Smith paid $20.50 on Jan. 5 at 3 p.m. Then he left, and that was all."
        var spoken: [[Float]] = []
        for size in [1, 7, 1000] {
            let session = try tts.session(voice: voice, seed: 5)
            let task = Task {
                var samples: [Float] = []
                for try await frame in session.frames { samples += frame.samples }
                return samples
            }
            var rest = text[...]
            while !rest.isEmpty {
                try session.enqueue(String(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            try session.finish()
            spoken.append(try await task.value)
        }
        XCTAssertEqual(spoken[0], spoken[1])
        XCTAssertEqual(spoken[0], spoken[2])
        XCTAssertGreaterThan(spoken[0].count, 24_000)
        XCTAssertThrowsError(try { let s = try tts.session(voice: voice); try s.finish(); try s.enqueue("x") }())
    }

    func testSessionWithPausesAtAnotherPace() async throws {
        let (tts, _) = try await model()
        let voice = try await tts.prepareVoice(named: tts.voiceNames[0])
        let text = "Hello there, you two. [pause:0.5] He left by the train then. <break time=\"1s\"/> That was all."
        for speed in [1, 1.25] {
            var options = SpeechOptions()
            (options.speed, options.text.pauses) = (speed, true)
            let whole = try await tts.synthesize(text, voice: voice, seed: 5, options: options).samples
            let session = try tts.session(voice: voice, seed: 5, options: options)
            var rest = text[...]
            while !rest.isEmpty {
                try session.enqueue(String(rest.prefix(6)))
                rest = rest.dropFirst(6)
            }
            try session.finish()
            var samples: [Float] = []
            for try await frame in session.frames { samples += frame.samples }
            XCTAssertEqual(samples, whole)
        }
        var wrong = SpeechOptions()
        wrong.text.glueShortChunks = true
        XCTAssertThrowsError(try tts.session(voice: voice, options: wrong))
        wrong = SpeechOptions()
        wrong.speed = 3
        XCTAssertThrowsError(try tts.session(voice: voice, options: wrong))
    }

    func testSessionIsCleared() async throws {
        let (tts, texts) = try await model()
        let voice = try await tts.prepareVoice(named: tts.voiceNames[0])
        let session = try tts.session(voice: voice, seed: 5)
        try session.enqueue(texts[3].text)
        try session.flush()
        var (chunks, cleared) = (Set<Int>(), false)
        for try await frame in session.frames {
            chunks.insert(frame.chunk)
            if !cleared {
                cleared = true
                session.clear()
                try session.enqueue("Something else now.")
                try session.finish()
            }
        }
        XCTAssertEqual(chunks.count, 2)
    }

    func testSpeedAndOptions() async throws {
        let (tts, texts) = try await model()
        var options = SpeechOptions()
        options.speed = 2
        let fast = try await tts.synthesize(texts[0].text, seed: texts[0].seed, options: options)
        XCTAssertEqual(fast.samples.count, texts[0].audio.values.count / 2)
        for change in [\SpeechOptions.temperature, \.noiseClamp] {
            var wrong = SpeechOptions()
            wrong[keyPath: change] = -1
            do {
                _ = try await tts.synthesize("Hello.", options: wrong)
                XCTFail("\(wrong)")
            } catch { guard case .option = error as? TTSError else { return XCTFail("\(error)") } }
        }
    }

    func testErrorsComeFromTheLoop() async throws {
        let (tts, _) = try await model()
        for (text, voice) in [("", nil), ("Hello", "nobody")] as [(String, String?)] {
            do {
                for try await _ in tts.stream(text, voice: voice) { XCTFail("spoken") }
                XCTFail("no error")
            } catch { XCTAssert(error is TTSError, "\(error)") }
        }
    }

    func testRecordingWithoutEncoderIsRefused() async throws {
        let (tts, texts) = try await model()
        guard !tts.canClone else { throw XCTSkip("this export has an encoder") }
        do {
            _ = try await tts.prepareVoice(recording: texts[0].audio.values, sampleRate: 24_000)
            XCTFail("no error")
        } catch { guard case .voice = error as? TTSError else { return XCTFail("\(error)") } }
    }
}

func residentMemory() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    return line.flatMap { Int($0.filter(\.isNumber)) }.map { $0 * 1024 } ?? 0
}
