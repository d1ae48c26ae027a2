/// A voice file of any kind for this model. Throws `TTSError.voice`.
func readVoice(_ path: String, _ engine: Engine) throws -> Voice {
    let file = try Safetensors(path)
    let (made, wanted) = (file.metadata["fingerprint"], engine.manifest.fingerprint)
    if let made, !made.isEmpty, !wanted.isEmpty, made != wanted {
        throw TTSError.voice(
            "\(path) was made for \(file.metadata["model"] ?? "other weights"), not for "
                + "\(engine.manifest.model). Make it again with this model.")
    }
    guard let prompt = file.entries["audio_prompt"] else {
        return try Voice(file, engine.flowLM.shape, path: path)
    }
    // The first releases' files: FlowLM's input embeddings, still to be prefilled.
    guard prompt.dtype == "F32", let width = prompt.shape.last, width > 0, !prompt.bytes.isEmpty else {
        throw TTSError.voice("\(path) has an audio_prompt that cannot be read. Export it again.")
    }
    var values = (0..<prompt.bytes.count / 4).map {
        Float(bitPattern: prompt.bytes.number(UInt32.self, at: 4 * $0))
    }
    // The graphs expect embeddings of mean zero, which makes no difference to the model.
    for start in stride(from: 0, to: values.count, by: width) {
        let mean = values[start..<start + width].reduce(0, +) / Float(width)
        for i in start..<start + width { values[i] -= mean }
    }
    let embeddings = Embeddings(values: values, count: values.count / width)
    return try engine.flowLM.voice(embeddings, metadata: file.metadata)
}

/// A voice from a recording. Throws `TTSError.voice`.
func cloneVoice(_ recording: [Float], _ rate: Int, _ engine: Engine) throws -> Voice {
    let prompt = try preparePrompt(recording, rate, engine.manifest.audio.sampleRate)
    let latents = try engine.encode(prompt)
    let embeddings = try engine.flowLM.embedVoice(latents)
    return try engine.flowLM.voice(
        embeddings,
        metadata: ["model": engine.manifest.model, "fingerprint": engine.manifest.fingerprint])
}
