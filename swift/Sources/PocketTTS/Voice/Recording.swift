import Foundation

/// A recording made into a voice prompt at the model's rate.
///
/// The model was trained on prompts that end in the pause between two words. One that stops inside
/// a word is continued, one that ends on long silence delays the first word: so the silence at the
/// end is cut, the last 20 ms fade out, and 80 ms of silence follow.
func preparePrompt(_ recording: [Float], _ rate: Int, _ modelRate: Int) throws -> [Float] {
    guard rate >= 8000 else {
        throw TTSError.voice("A recording needs at least 8000 samples a second, it has \(rate).")
    }
    guard Double(recording.count) / Double(rate) >= 0.08 else {
        throw TTSError.voice("The recording is shorter than 80 ms. Give a few seconds of speech.")
    }
    guard recording.allSatisfy(\.isFinite) else {
        throw TTSError.voice("There is NaN or infinity among the samples of the recording.")
    }
    let audio = Array(recording.prefix(30 * rate))
    guard frameLevels(audio, rate).max() ?? -240 >= -70 else {
        throw TTSError.voice("The recording is silent. Give a few seconds of clear speech.")
    }
    return endOnPause(resample(audio, from: rate, to: modelRate), modelRate)
}

/// RMS of each whole 20 ms, in dB of full scale; digital silence is -240.
private func frameLevels(_ audio: [Float], _ rate: Int) -> [Double] {
    let frame = max(1, Int(0.02 * Double(rate)))
    return (0..<audio.count / frame).map { i in
        let squares = audio[i * frame..<(i + 1) * frame].reduce(0.0) { $0 + Double($1) * Double($1) }
        return 20 * log10((squares / Double(frame)).squareRoot() + 1e-12)
    }
}

/// Cut what is 35 dB below the loudest 20 ms at the end, fade 20 ms out, add 80 ms of zeros.
private func endOnPause(_ audio: [Float], _ rate: Int) -> [Float] {
    let levels = frameLevels(audio, rate)
    guard let loudest = levels.max(), let last = levels.lastIndex(where: { $0 > loudest - 35 }) else {
        return audio
    }
    let end = (last + 1) * Int(0.02 * Double(rate))
    let fade = min(Int(0.02 * Double(rate)), end)
    var result = Array(audio.prefix(end)) + [Float](repeating: 0, count: Int(0.08 * Double(rate)))
    for i in 0..<fade {
        result[end - fade + i] *= Float(1 - Double(i) / Double(max(fade - 1, 1)))
    }
    return result
}
