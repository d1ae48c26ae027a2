/// How a text is spoken. What is nil is the model's own.
public struct SpeechOptions: Sendable, Equatable {
    /// Variance of the noise that latents are drawn from, 0 or more.
    public var temperature: Double?
    /// Largest noise, above 0, in the noise's units; nil for no limit.
    public var noiseClamp: Double?
    /// Logit above which speech has ended.
    public var eosThreshold: Double?
    /// Frames of 80 ms spoken after the end of speech, 0 or more.
    public var framesAfterEos: Int?
    /// How often the flow head runs per frame: one of ``TTSModel/flowSteps``.
    public var flowSteps: Int?
    /// 0.5 to 2 times the model's pace, at the same pitch.
    public var speed = 1.0
    /// What is done to the text first.
    public var text = TextOptions()

    public init() {}
}

/// The numbers that one generation is drawn with.
struct Sampling: Sendable {
    let seed: UInt64
    let temperature: Double
    let noiseClamp: Double?
    let eosThreshold: Double
    let framesAfterEos: Int?
    let flowSteps: Int

    /// Throws `TTSError.option` for what is out of range or what the model cannot do.
    init(_ options: SpeechOptions, seed: UInt64, _ generation: Manifest.Generation, _ steps: [Int]) throws {
        self.seed = seed
        temperature = options.temperature ?? generation.temperature
        noiseClamp = options.noiseClamp
        eosThreshold = options.eosThreshold ?? generation.eosThreshold
        framesAfterEos = options.framesAfterEos ?? generation.framesAfterEos
        flowSteps = options.flowSteps ?? generation.flowSteps[0]
        guard temperature.isFinite, temperature >= 0 else {
            throw TTSError.option("temperature must be 0 or more, got \(temperature).")
        }
        guard noiseClamp.map({ $0 > 0 }) ?? true else {
            throw TTSError.option("noiseClamp must be above 0 or nil, got \(noiseClamp ?? 0).")
        }
        guard eosThreshold.isFinite, framesAfterEos ?? 0 >= 0 else {
            throw TTSError.option("eosThreshold must be finite and framesAfterEos 0 or more.")
        }
        guard steps.contains(flowSteps) else {
            throw TTSError.option(
                "This model runs its flow head \(steps.map(String.init).joined(separator: ", ")) "
                    + "times a frame, not \(flowSteps).")
        }
    }
}

/// When a chunk ends: `tail` frames after the first end of speech that counts.
struct EosPolicy {
    private(set) var eosFrame: Int?
    let threshold: Double
    let tail: Int
    /// The logit is ignored on the first frames: before speech starts it is high with some voices.
    let framesBefore: Int

    init(threshold: Double, tail: Int, framesBefore: Int) {
        (self.threshold, self.tail, self.framesBefore) = (threshold, tail, framesBefore)
    }

    /// Whether the latent of `frame`, whose logit this is, must not be spoken any more.
    mutating func ends(_ frame: Int, _ eosLogit: Float) -> Bool {
        if eosFrame == nil && frame >= framesBefore && Double(eosLogit) > threshold { eosFrame = frame }
        return eosFrame.map { frame >= $0 + tail } ?? false
    }
}
