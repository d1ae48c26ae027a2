import Foundation

extension Speech {
    /// A WAV file: mono, 16 bits, samples beyond full scale limited.
    public func wav() -> Data { wavFile(samples, sampleRate) }
}

/// A WAV file of mono samples, 16 bits.
func wavFile(_ samples: [Float], _ rate: Int) -> Data {
    var data = Data(capacity: 44 + 2 * samples.count)
    func add<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number.littleEndian) { data.append(contentsOf: $0) }
    }
    data.append(contentsOf: "RIFF".utf8)
    add(UInt32(36 + 2 * samples.count))
    data.append(contentsOf: "WAVEfmt ".utf8)
    add(UInt32(16))
    add(UInt16(1))  // PCM
    add(UInt16(1))  // channels
    add(UInt32(rate))
    add(UInt32(2 * rate))
    add(UInt16(2))
    add(UInt16(16))
    data.append(contentsOf: "data".utf8)
    add(UInt32(2 * samples.count))
    for sample in samples { add(Int16(min(max(sample, -1), 1) * 32767)) }
    return data
}
