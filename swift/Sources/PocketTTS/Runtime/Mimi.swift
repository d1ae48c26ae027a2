/// Mimi's decoder at one place of one chunk: latents to samples, 1920 each at 24 kHz.
///
/// Its state alternates between two sets of tensors: what one call writes, the next one reads.
final class MimiDecoder {
    private let model: CompiledModel
    private let sizes: [Int: String]
    private let stepsPerFrame: Int
    private let states: [[String: Tensor]]
    private var calls: [String: Call] = [:]
    private var position = 0
    private var turn = 0

    init(_ model: CompiledModel, stepsPerFrame: Int) throws {
        self.model = model
        self.stepsPerFrame = stepsPerFrame
        sizes = frameSizes(model, "decode")
        guard sizes[1] != nil else {
            throw TTSError.folder("mimi_decoder.tflite has no decode_1. Export the model again.")
        }
        states = [try model.states(), try model.states()]
    }

    /// Begin another chunk.
    func reset() {
        for tensor in states[0].values { tensor.clear() }
        (position, turn) = (0, 0)
    }

    /// Samples of `latents`, in calls of at most as many frames as there is a signature for.
    func decode(_ latents: [[Float]]) throws -> [Float] {
        var samples: [Float] = []
        var begin = 0
        while begin < latents.count {
            let size = sizes.keys.filter { $0 <= min(latents.count - begin, atOnce) }.max()!
            samples += try decodeOnce(latents[begin..<begin + size])
            begin += size
        }
        return samples
    }

    private func decodeOnce(_ latents: ArraySlice<[Float]>) throws -> UnsafeMutableBufferPointer<Float> {
        let name = sizes[latents.count]!
        let key = "\(name) \(turn)"
        let call = try calls[key] ?? model.bind(name, inputs: states[turn], outputs: states[1 - turn])
        calls[key] = call
        let input = try call.input("latents")
        let width = input.shape[2]
        for (i, latent) in latents.enumerated() {
            guard latent.count == width else {
                throw TTSError.generation("A latent has \(latent.count) values instead of \(width).")
            }
            for j in 0..<width { input.floats[i * width + j] = latent[j] }
        }
        try call.input("position").floats[0] = Float(position)
        try call.run()
        turn = 1 - turn
        position += latents.count * stepsPerFrame
        return try call.output("audio").values
    }
}

/// Eight frames in one call take as long as in two, and more memory.
private let atOnce = 4

/// Whether a signature of Mimi is called here, by its name. Other apps may call all.
func isUsed(_ signature: String) -> Bool {
    let parts = signature.split(separator: "_")
    guard parts.count == 2, parts[0] == "decode", let frames = Int(parts[1]) else { return true }
    return frames <= atOnce
}

/// Latents [frames, width] of a recording at the model's rate; a last frame that is not full ends
/// in zeros.
func encode(_ model: CompiledModel, _ rules: Manifest.Audio, _ audio: [Float]) throws -> [Float] {
    guard let (size, name) = frameSizes(model, "encode").max(by: { $0.key < $1.key }) else {
        throw TTSError.folder("mimi_encoder.tflite has no encode. Export the model again.")
    }
    let call = try model.bind(name)
    let input = try call.input("audio")
    let output = try call.output("latents")
    let block = size * rules.frameSize
    guard input.count == block else {
        throw TTSError.folder("mimi_encoder.tflite has other frames than manifest.json says. Export again.")
    }
    var latents: [Float] = []
    for start in stride(from: 0, to: audio.count, by: block) {
        for i in 0..<block { input.floats[i] = start + i < audio.count ? audio[start + i] : 0 }
        try call.input("position").floats[0] = Float(start / rules.frameSize * rules.stepsPerFrame)
        try call.run()
        latents += output.values
        for (name, tensor) in call.inputs {
            guard let after = call.outputs[name] else { continue }
            tensor.floats.update(from: after.floats, count: tensor.count)
        }
    }
    let frames = (audio.count + rules.frameSize - 1) / rules.frameSize
    return Array(latents.prefix(frames * output.shape[2]))
}

/// {frames: name} of the signatures NAME_N.
private func frameSizes(_ model: CompiledModel, _ kind: String) -> [Int: String] {
    var found: [Int: String] = [:]
    for name in model.signatures.keys {
        let parts = name.split(separator: "_")
        if parts.count == 2, parts[0] == kind, let frames = Int(parts[1]) { found[frames] = name }
    }
    return found
}
