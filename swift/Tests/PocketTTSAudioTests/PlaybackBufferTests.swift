import Foundation
import XCTest

@testable import PocketTTSAudio

final class PlaybackBufferTests: XCTestCase {
    private func read(_ buffer: PlaybackBuffer, _ count: Int) -> [Float] {
        var output = [Float](repeating: -1, count: count)
        buffer.read(into: &output, count: count)
        return output
    }

    func testNothingIsPlayedBeforeEnoughIsThere() {
        let buffer = PlaybackBuffer(capacity: 100, prebuffer: 10, history: 5)
        XCTAssertEqual(buffer.write([1, 2, 3, 4, 5]), 5)
        XCTAssertEqual(read(buffer, 4), [0, 0, 0, 0])
        XCTAssertEqual(buffer.write([6, 7, 8, 9, 10]), 5)
        XCTAssertEqual(read(buffer, 4), [1, 2, 3, 4])
        XCTAssertEqual(read(buffer, 8), [5, 6, 7, 8, 9, 10, 0, 0])
    }

    func testAShortTextIsPlayedWhole() {
        let buffer = PlaybackBuffer(capacity: 100, prebuffer: 10, history: 5)
        _ = buffer.write([1, 2, 3])
        XCTAssertFalse(buffer.isDrained)
        buffer.finish()
        XCTAssertEqual(read(buffer, 2), [1, 2])
        XCTAssertFalse(buffer.isDrained)
        XCTAssertEqual(read(buffer, 2), [3, 0])
        XCTAssert(buffer.isDrained)
    }

    func testAnUnderrunWaitsForMore() {
        let buffer = PlaybackBuffer(capacity: 100, prebuffer: 3, history: 0)
        _ = buffer.write([1, 2, 3])
        XCTAssertEqual(read(buffer, 3), [1, 2, 3])
        _ = buffer.write([4, 5])
        XCTAssertEqual(read(buffer, 2), [0, 0])
        _ = buffer.write([6])
        XCTAssertEqual(read(buffer, 3), [4, 5, 6])
    }

    func testAFullBufferTakesNoMore() {
        let buffer = PlaybackBuffer(capacity: 4, prebuffer: 0, history: 2)
        XCTAssertEqual(buffer.write([1, 2, 3, 4, 5, 6]), 4)
        XCTAssertEqual(buffer.waiting, 4)
        XCTAssertEqual(read(buffer, 3), [1, 2, 3])
        XCTAssertEqual(buffer.write([5, 6, 7, 8]), 3)
        XCTAssertEqual(read(buffer, 4), [4, 5, 6, 7])
    }

    func testWhatAnOutputDidNotPlayIsPlayedAgain() {
        let buffer = PlaybackBuffer(capacity: 10, prebuffer: 0, history: 3)
        _ = buffer.write([1, 2, 3, 4, 5, 6])
        XCTAssertEqual(read(buffer, 5), [1, 2, 3, 4, 5])
        buffer.rewind(2)
        XCTAssertEqual(read(buffer, 3), [4, 5, 6])
        buffer.rewind(100)
        XCTAssertEqual(read(buffer, 4), [4, 5, 6, 0])
    }

    func testDiscardedSamplesAreNotPlayed() {
        let buffer = PlaybackBuffer(capacity: 10, prebuffer: 0, history: 3)
        _ = buffer.write([1, 2, 3, 4])
        XCTAssertEqual(read(buffer, 1), [1])
        buffer.discard()
        _ = buffer.write([9])
        XCTAssertEqual(read(buffer, 2), [9, 0])
        buffer.rewind(3)
        XCTAssertEqual(read(buffer, 1), [9])
    }

    func testTwoThreads() {
        let buffer = PlaybackBuffer(capacity: 100, prebuffer: 20, history: 10)
        let total = 200_000
        let writer = Thread {
            var next = 1
            while next <= total {
                let piece = (next..<min(next + 37, total + 1)).map(Float.init)
                next += buffer.write(piece[...])
            }
            buffer.finish()
        }
        writer.start()
        var expected: Float = 1
        var output = [Float](repeating: 0, count: 64)
        while !buffer.isDrained {
            let count = buffer.read(into: &output, count: 64)
            for sample in output.prefix(count) {
                XCTAssertEqual(sample, expected)
                expected += 1
            }
        }
        XCTAssertEqual(Int(expected), total + 1)
    }
}
