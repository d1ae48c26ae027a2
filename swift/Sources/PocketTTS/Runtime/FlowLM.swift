/// FlowLM of an export: embeddings of text and voices, prefills, and the steps of a chunk.
final class FlowLM: @unchecked Sendable {
    let model: GroupedModel
    let shape: AttentionShape
    let capacities: [Int]
    let bos: [Float]
    let tokens: Int  // ids are below
    private let voiceStart: [Float]?
    private let prefills: [Int: [Int: String]]  // capacity: embeddings at once: signature
    private let decodes: [Int: [Int: String]]  // capacity: flow steps: signature
    private let spare = Spare<Session>()

    init(_ model: GroupedModel, _ manifest: Manifest) throws {
        self.model = model
        tokens = manifest.tokenizer.size
        capacities = manifest.cache.capacities.sorted()
        bos = manifest.constants.bos
        voiceStart = manifest.constants.voiceStart
        prefills = byCapacity(model.names, "prefill")
        decodes = byCapacity(model.names, "decode")
        let cache = manifest.cache
        shape = AttentionShape(layers: cache.layers, heads: cache.kvHeads, width: cache.headDim)
        for capacity in [capacities[0], capacities.last!] {
            guard prefills[capacity] != nil, decodes[capacity] != nil else {
                throw TTSError.folder("flow_lm.tflite has no step for \(capacity) positions.")
            }
        }
        for name in decodes[capacities[0]]!.values { try checkStep(name, capacities[0]) }
    }

    /// The manifest's sizes must be those of the graph: caches are made from them.
    private func checkStep(_ name: String, _ capacity: Int) throws {
        let step = try model.model(name).signatures[name]!
        let shapes = Dictionary(step.inputs.map { ($0.name, $0.shape) }, uniquingKeysWith: { a, _ in a })
        let cache = [1, shape.heads, capacity, shape.width]
        let layers = (0..<shapes.count).prefix { shapes["k_\($0)"] == cache && shapes["v_\($0)"] == cache }
        guard layers.count == shape.layers, shapes["k_\(shape.layers)"] == nil,
            shapes["latent"] == [1, bos.count]
        else {
            throw TTSError.folder(
                "flow_lm.tflite does not have the sizes that manifest.json says. Export the model again.")
        }
    }

    /// How often the flow head can run per frame.
    var flowSteps: [Int] { Set(decodes.values.flatMap(\.keys)).sorted() }

    /// Width of a latent.
    var latentWidth: Int { bos.count }

    /// Embeddings [count, width] of token ids, in calls of as many as the signature takes.
    func embedText(_ ids: [Int]) throws -> Embeddings {
        guard ids.allSatisfy({ 0 <= $0 && $0 < tokens }) else {
            throw TTSError.generation("Token ids must be from 0 to \(tokens - 1).")
        }
        let call = try model.bind("embed_text")
        let input = try call.input("tokens")
        var result = Embeddings()
        for start in stride(from: 0, to: ids.count, by: input.count) {
            let piece = ids[start..<min(start + input.count, ids.count)]
            for (i, id) in piece.enumerated() { input.integers[i] = Int32(id) }
            try call.run()
            result.append(try call.output("embeddings"), count: piece.count)
        }
        model.releasePages()  // each row of the table came with the pages around it
        return result
    }

    /// Embeddings of a recording's latents [frames, width], led by the one that begins a voice.
    func embedVoice(_ latents: [Float]) throws -> Embeddings {
        let call = try model.bind("embed_voice")
        let input = try call.input("latents")
        let (length, width) = (input.shape[1], input.shape[2])
        var result = Embeddings(values: voiceStart ?? [], count: voiceStart == nil ? 0 : 1)
        for start in stride(from: 0, to: latents.count / width, by: length) {
            let count = min(length, latents.count / width - start)
            for i in 0..<count * width { input.floats[i] = latents[start * width + i] }
            try call.run()
            result.append(try call.output("embeddings"), count: count)
        }
        return result
    }

    /// The attention cache that embeddings leave behind.
    func voice(_ embeddings: Embeddings, metadata: [String: String] = [:]) throws -> Voice {
        let cache = try prefill(AttentionCache(shape, capacity: capacities[0]), embeddings)
        let rows = cache.copyRows()
        return try Voice(shape, keys: rows.keys, values: rows.values, metadata: metadata)
    }

    /// A chunk of text behind a voice, ready for its first step.
    func start(_ voice: Voice, _ ids: [Int], flowSteps: Int) throws -> Latents {
        let session = try spare.take() ?? Session(AttentionCache(shape, capacity: capacities[0]))
        session.cache.position = 0
        try session.grow(voice.length + ids.count + 1, capacities)
        try session.cache.append(voice)
        session.use(try prefill(session.cache, try embedText(ids)))
        let text = voice.length..<voice.length + ids.count
        return Latents(self, session, text: text, flowSteps: flowSteps)
    }

    /// Nobody uses this session any more: the next chunk can. Zeroing a new cache takes longer than
    /// a step, so what is stale is left in it; the graphs mask it.
    func give(_ session: Session) {
        if session.cache.capacity == capacities[0] { spare.give(session) }
    }

    /// Append embeddings in as few calls as possible; a larger cache comes back where they need one.
    private func prefill(_ start: AttentionCache, _ embeddings: Embeddings) throws -> AttentionCache {
        var cache = try start.grown(start.position + embeddings.count, capacities)
        while prefills[cache.capacity] == nil { cache = try cache.grown(cache.capacity + 1, capacities) }
        let names = prefills[cache.capacity]!
        var done = 0
        while done < embeddings.count {
            let left = embeddings.count - done
            let size = names.keys.filter { $0 >= left }.min() ?? names.keys.max()!
            let count = min(size, left)
            let call = try model.bind(names[size]!, inputs: cache.tensors)
            try embeddings.copy(done..<done + count, to: try call.input("embeddings"))
            try call.input("position").floats[0] = Float(cache.position)
            try call.run()
            try cache.append(call, count: count)
            done += count
        }
        return cache
    }

    /// A step over a cache.
    fileprivate func bindStep(_ name: String, _ cache: AttentionCache) throws -> Call {
        try checkStep(name, cache.capacity)
        return try model.bind(name, inputs: cache.tensors)
    }

    /// The name of the step over a cache of this capacity, if there is one.
    fileprivate func decode(_ capacity: Int, _ flowSteps: Int) -> String? {
        decodes[capacity]?[flowSteps]
    }
}

/// Vectors of the model's width, one behind the other.
struct Embeddings {
    var values: [Float] = []
    var count = 0

    mutating func append(_ tensor: Tensor, count: Int) {
        values += tensor.values.prefix(count * tensor.shape[2])
        self.count += count
    }

    func copy(_ range: Range<Int>, to tensor: Tensor) throws {
        let width = values.count / max(count, 1)
        guard width == tensor.shape[2] else {
            throw TTSError.generation("Embeddings of width \(width) do not fit \(tensor.shape).")
        }
        for i in 0..<range.count * width { tensor.floats[i] = values[range.lowerBound * width + i] }
    }
}

/// A cache with the steps that were bound to it.
final class Session {
    private(set) var cache: AttentionCache
    private var calls: [String: Call] = [:]

    init(_ cache: AttentionCache) { self.cache = cache }

    func use(_ cache: AttentionCache) {
        if cache !== self.cache { calls = [:] }
        self.cache = cache
    }

    func grow(_ positions: Int, _ capacities: [Int]) throws {
        use(try cache.grown(positions, capacities))
    }

    func call(_ flowLM: FlowLM, _ name: String) throws -> Call {
        if let call = calls[name] { return call }
        let call = try flowLM.bindStep(name, cache)
        calls[name] = call
        return call
    }
}

/// FlowLM at one place of one chunk. Not for use by several threads at once.
final class Latents {
    private let flowLM: FlowLM
    private let session: Session
    private let text: Range<Int>  // where the chunk's tokens lie in the cache
    private let flowSteps: Int
    private var latent: [Float]
    private var last: Call?
    private var usable = true

    fileprivate init(_ flowLM: FlowLM, _ session: Session, text: Range<Int>, flowSteps: Int) {
        (self.flowLM, self.session, self.text, self.flowSteps) = (flowLM, session, text, flowSteps)
        latent = flowLM.bos
    }

    deinit { if usable { flowLM.give(session) } }

    /// The next latent and the logit of speech having ended with it.
    func step(noise: ArraySlice<Float>) throws -> (latent: [Float], eosLogit: Float) {
        var name = flowLM.decode(session.cache.capacity, flowSteps)
        while name == nil || session.cache.position == session.cache.capacity {
            try session.grow(session.cache.capacity + 1, flowLM.capacities)
            name = flowLM.decode(session.cache.capacity, flowSteps)
        }
        let call = try session.call(flowLM, name!)
        try write(latent[...], to: call.input("latent"))
        try write(noise, to: call.input("noise"))
        try call.input("position").floats[0] = Float(session.cache.position)
        try call.run()
        last = call
        try session.cache.append(call, count: 1)
        latent = Array(try call.output("next_latent").values)
        let logit = try call.output("eos_logit").floats[0]
        if !logit.isFinite { usable = false }  // this cache must not be used again
        return (latent, logit)
    }

    /// What the last step looked at, of the chunk's tokens.
    func attention() throws -> Attention? {
        guard let tensor = try last?.output("attention") else { return nil }
        let (heads, capacity) = (tensor.shape[1], tensor.shape[2])
        let weights = (0..<heads).flatMap { head in text.map { tensor.floats[head * capacity + $0] } }
        return Attention(heads: heads, tokens: text.count, weights: weights)
    }

    private func write(_ values: ArraySlice<Float>, to tensor: Tensor) {
        for (i, value) in values.prefix(tensor.count).enumerated() { tensor.floats[i] = value }
    }
}

/// At most one thing that was used and can be used again.
final class Spare<Thing>: @unchecked Sendable {
    private let monitor = Monitor()
    private var kept: Thing?

    func take() -> Thing? {
        monitor.locked {
            defer { kept = nil }
            return kept
        }
    }

    func give(_ thing: Thing) { monitor.locked { kept = thing } }
}

/// {C: {N: name}} of the signatures NAME_N_cC.
private func byCapacity(_ names: some Sequence<String>, _ kind: String) -> [Int: [Int: String]] {
    var found: [Int: [Int: String]] = [:]
    for name in names {
        let parts = name.split(separator: "_")
        guard parts.count == 3, parts[0] == kind, parts[2].first == "c",
            let number = Int(parts[1]), let capacity = Int(parts[2].dropFirst())
        else { continue }
        found[capacity, default: [:]][number] = name
    }
    return found
}
