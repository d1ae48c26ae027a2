import XCTest

@testable import PocketTTS

final class AudioTests: XCTestCase {
    private struct Cases: Decodable {
        let samples: Floats
        let stretched: [String: Floats]
        let shifted: [Shifted]
        let prompt: Floats
        let loud: Floats
        let pcm: [Int16]
    }

    private struct Shifted: Decodable {
        let pitch: Double
        let formants: Double
        let pace: Double
        let audio: Floats
    }

    func testTimbreShiftEqualsPythons() throws {
        let cases = try Fixtures.read("audio", as: Cases.self)
        XCTAssertEqual(cases.shifted.count, 6)
        for expected in cases.shifted {
            let about = [
                "pitch": "\(expected.pitch)", "formants": "\(expected.formants)", "pace": "\(expected.pace)",
            ]
            var shift = TimbreShift(try XCTUnwrap(try Timbre(about)))
            var found: [Float] = []
            for start in stride(from: 0, to: cases.samples.values.count, by: 1000) {
                found += shift.push(Array(cases.samples.values[start...].prefix(1000)))
            }
            found += shift.finish()
            XCTAssertEqual(found.count, expected.audio.values.count)
            XCTAssertLessThan(largestDifference(found, expected.audio.values), 1e-5, "\(about)")
        }
    }

    func testImpossibleTimbresAreErrors() throws {
        XCTAssertNil(try Timbre(["licence": "CC0"]))
        XCTAssertEqual(try Timbre(["pitch": "2"])?.formants, 1)
        for about in [["pitch": "0.4"], ["formants": "high"], ["pitch": "nan"], ["pace": "0"]] {
            XCTAssertThrowsError(try Timbre(about)) {
                guard case .voice = $0 as? TTSError else { return XCTFail("\($0)") }
            }
        }
    }

    func testTimeStretchEqualsPythons() throws {
        let cases = try Fixtures.read("audio", as: Cases.self)
        for (speed, expected) in cases.stretched {
            var stretch = try TimeStretch(speed: try XCTUnwrap(Double(speed)), sampleRate: 24_000)
            var found: [Float] = []
            for start in stride(from: 0, to: cases.samples.values.count, by: 1920) {
                found += stretch.push(Array(cases.samples.values[start...].prefix(1920)))
            }
            found += stretch.finish()
            XCTAssertLessThan(largestDifference(found, expected.values), 1e-6, speed)
        }
    }

    func testSpeedOneChangesNothing() throws {
        var stretch = try TimeStretch(speed: 1, sampleRate: 24_000)
        XCTAssertEqual(stretch.push([1, 2, 3]), [1, 2, 3])
        XCTAssertEqual(stretch.finish(), [])
        XCTAssertThrowsError(try TimeStretch(speed: 2.1, sampleRate: 24_000))
        XCTAssertThrowsError(try TimeStretch(speed: .nan, sampleRate: 24_000))
    }

    func testWAVFile() throws {
        let cases = try Fixtures.read("audio", as: Cases.self)
        let file = wavFile(cases.loud.values, 24_000)
        XCTAssertEqual(file.count, 44 + 2 * cases.pcm.count)
        XCTAssertEqual(file.prefix(4), Data("RIFF".utf8))
        let samples = file.dropFirst(44).withUnsafeBytes { bytes in
            (0..<bytes.count / 2).map { bytes.loadUnaligned(fromByteOffset: 2 * $0, as: Int16.self) }
        }
        XCTAssertEqual(samples, cases.pcm)
    }

    func testRecordingAtTheModelsRateIsPreparedAsInPython() throws {
        let cases = try Fixtures.read("audio", as: Cases.self)
        let prompt = try preparePrompt(cases.samples.values, 24_000, 24_000)
        XCTAssertLessThan(largestDifference(prompt, cases.prompt.values), 1e-6)
    }

    private func tone(_ frequency: Double, _ rate: Int) -> [Float] {
        (0..<rate).map { Float(sin(2 * Double.pi * frequency * Double($0) / Double(rate))) }
    }

    func testResamplingKeepsATone() {
        for rate in [16_000, 44_100, 48_000, 22_050] {
            let found = resample(tone(440, rate), from: rate, to: 24_000)
            XCTAssertEqual(found.count, 24_000)
            let inside = 1000..<23_000
            XCTAssertLessThan(
                largestDifference(Array(found[inside]), Array(tone(440, 24_000)[inside])), 1e-3, "\(rate)")
        }
    }

    func testResamplingRemovesWhatTheNewRateCannotHold() {
        let found = resample(tone(15_000, 48_000), from: 48_000, to: 24_000)
        XCTAssertLessThan(found[1000..<23_000].map(abs).max()!, 1e-3)
    }

    func testSilentAndShortRecordingsAreRefused() {
        for samples in [[Float](repeating: 0, count: 24_000), [0.1, 0.2], [Float](repeating: .nan, count: 24_000)] {
            XCTAssertThrowsError(try preparePrompt(samples, 24_000, 24_000)) {
                guard case .voice = $0 as? TTSError else { return XCTFail("\($0)") }
            }
        }
    }

    func testDigests() {
        func sha(_ text: String) -> String {
            Array(text.utf8).withUnsafeBytes { SHA256.hex($0) }
        }
        XCTAssertEqual(sha(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        XCTAssertEqual(sha("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        XCTAssertEqual(
            sha(String(repeating: "a", count: 119)),
            "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb")
        var crc = CRC32()
        Array("1234".utf8).withUnsafeBytes { crc.add($0) }
        Array("56789".utf8).withUnsafeBytes { crc.add($0) }
        XCTAssertEqual(crc.hex, "cbf43926")
    }
}
