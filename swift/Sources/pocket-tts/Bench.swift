import Foundation
import PocketTTS

/// Times and memory of one text.
private struct Measurement: Encodable {
    /// Seconds from the call to the first samples, and to the last.
    let firstAudio: Double
    let seconds: Double
    /// Seconds of speech.
    let speech: Double
    let chunks: Int
    /// Most memory that the process has had, in bytes.
    let peakMemory: Int
}

private struct Loading: Encodable {
    /// Seconds until the model and the voice were there.
    let load: Double
    let peakMemory: Int
}

/// Speak each line of standard input, and print what it took. The first line of output is what
/// loading took.
func bench(_ arguments: Arguments) async throws {
    let begun = Date()
    let model = try await arguments.model()
    let voice = try await arguments.voice(model)
    try report(Loading(load: Date().timeIntervalSince(begun), peakMemory: peakMemory()))
    let seed: UInt64 = try arguments.number("--seed") ?? 0
    while let text = readLine() {
        try await report(measure(model, voice, text, seed))
    }
}

private func measure(
    _ model: TTSModel, _ voice: Voice, _ text: String, _ seed: UInt64
) async throws -> Measurement {
    let begun = Date()
    var first: Double?
    var (samples, chunks) = (0, 0)
    for try await frame in model.stream(text, voice: voice, seed: seed) {
        first = first ?? Date().timeIntervalSince(begun)
        samples += frame.samples.count
        chunks = frame.chunk + 1
    }
    return Measurement(
        firstAudio: first ?? 0, seconds: Date().timeIntervalSince(begun),
        speech: Double(samples) / Double(model.sampleRate), chunks: chunks, peakMemory: peakMemory())
}

private func report(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = .sortedKeys
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
    fflush(nil)  // whoever measures waits for the line
}

private func peakMemory() -> Int {
    var usage = rusage()
    #if canImport(Darwin)
        getrusage(RUSAGE_SELF, &usage)
        return usage.ru_maxrss
    #else
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return 1024 * usage.ru_maxrss
    #endif
}
