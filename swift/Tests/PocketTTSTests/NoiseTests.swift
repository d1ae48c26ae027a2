import XCTest

@testable import PocketTTS

/// The noise generator: the vectors of docs/noise.md, and bits of the Python package.
final class NoiseTests: XCTestCase {
    func testPhilox() {
        let expected: SIMD4<UInt64> = [
            0x1655_4D9E_CA36_314C, 0xDB20_FE9D_672D_0FDC, 0xD7E7_72CE_E186_176B, 0x7E68_B68A_EC7B_A23B,
        ]
        XCTAssertEqual(Philox.block(0, key: (0, 0)), expected)
    }

    func testVectorsOfTheSpecification() {
        let plain = Noise(seed: 42, chunk: 3, temperature: 0.3).frames(0, 1, width: 8)
        let clamped = Noise(seed: 42, chunk: 3, temperature: 0.3, clamp: 0.5).frames(0, 1, width: 8)
        XCTAssertEqual(
            plain.map(\.bitPattern),
            [
                0x3e16_a773, 0xbd98_f632, 0xbf4b_72f2, 0xbd0b_70c0, 0x3e9d_0155, 0xbf4e_6742, 0xbe16_daca,
                0xbf20_5c7c,
            ])
        XCTAssertEqual(
            clamped.map(\.bitPattern),
            [
                0x3dbf_12b4, 0xbd43_0817, 0xbed1_7bd3, 0xbcb2_0ce7, 0x3e42_5fd8, 0xbed3_33bf, 0xbdbf_52e3,
                0xbeb3_3adc,
            ])
    }

    private struct Case: Decodable {
        let seed: String
        let chunk: Int
        let frame: Int
        let temperature: Double
        let clamp: Double?
        let values: Floats
    }

    func testSameBitsAsPython() throws {
        for one in try Fixtures.read("noise", as: [Case].self) {
            let noise = Noise(
                seed: try XCTUnwrap(UInt64(one.seed)), chunk: one.chunk, temperature: one.temperature,
                clamp: one.clamp)
            let found = noise.frames(one.frame, 64, width: 32)
            XCTAssertEqual(found.map(\.bitPattern), one.values.values.map(\.bitPattern))
            XCTAssertEqual(noise.frames(one.frame + 3, 1, width: 32), Array(found[96..<128]))
        }
    }
}
