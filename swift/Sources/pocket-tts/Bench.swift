import Foundation
import PocketTTS

/// What loading took.
private struct Loading: Encodable {
    /// Seconds until the model and the voice were there.
    let load: Double
    /// Most memory that the process has had, in bytes.
    let peakMemory: Int
}

/// What one text took.
private struct Spoken: Encodable {
    /// Seconds from the call to each frame of 80 ms.
    let arrivals: [Double]
    /// Seconds to the end, and processor seconds.
    let seconds: Double
    let cpu: Double
    /// Seconds of speech.
    let speech: Double
    let peakMemory: Int
}

/// Speak each line of standard input, and print what it took. The first line of output is what
/// loading took. With `--warm-up N` the first text is left after N frames.
func bench(_ arguments: Arguments) async throws {
    let begun = Date()
    let model = try await arguments.model()
    let voice = try await arguments.voice(model)
    try report(Loading(load: Date().timeIntervalSince(begun), peakMemory: peakMemory()))
    var options = SpeechOptions()
    options.eosThreshold = try arguments.number("--eos-threshold")
    let seed: UInt64 = try arguments.number("--seed") ?? 0
    var most: Int? = try arguments.number("--warm-up")
    while let text = readLine() {
        let stream = model.stream(text, voice: voice, seed: seed, options: options)
        try await report(measure(stream, most: most, rate: model.sampleRate))
        most = nil
    }
}

private func measure(_ stream: SpeechStream, most: Int?, rate: Int) async throws -> Spoken {
    let (begun, cpu) = (Date(), processorSeconds())
    var (arrivals, samples) = ([Double](), 0)
    for try await frame in stream {
        arrivals.append(Date().timeIntervalSince(begun))
        samples += frame.samples.count
        if arrivals.count == most { break }
    }
    return Spoken(
        arrivals: arrivals, seconds: Date().timeIntervalSince(begun), cpu: processorSeconds() - cpu,
        speech: Double(samples) / Double(rate), peakMemory: peakMemory())
}

private func report(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = .sortedKeys
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
    fflush(nil)  // whoever measures waits for the line
}

private func processorSeconds() -> Double {
    let usage = resourceUsage()
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

private func peakMemory() -> Int {
    #if canImport(Darwin)
        return resourceUsage().ru_maxrss
    #else
        // What getrusage says of a process that was forked is its parent's size.
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }
        return 1024 * (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0)
    #endif
}

private func resourceUsage() -> rusage {
    var usage = rusage()
    #if canImport(Darwin)
        getrusage(RUSAGE_SELF, &usage)
    #else
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    #endif
    return usage
}
