import XCTest

@testable import PocketTTS

/// `vectors.json` of every export, which docs/contract.md describes.
final class VectorsTests: XCTestCase {
    private struct Vectors: Decodable {
        let tolerance: Float
        let tokenizer: [Tokenized]
        let prepare: [Prepared]
        let normalize: [Normalized]
        let texts: [Text]
        let noise: NoiseCase
        let runs: [Run]
    }

    private struct Tokenized: Decodable {
        let text: String
        let ids: [Int]
        let decoded: String
    }

    private struct Prepared: Decodable {
        struct Rules: Decodable {
            let padWithSpacesForShortInputs: Bool
            let removeSemicolons: Bool
            let appendTerminalPunctuation: Bool
            let capitalizeFirstLetter: Bool
            let replaceCharacters: [String: String]
        }

        let text: String
        let rules: Rules?
        let prepared: String
    }

    private struct Normalized: Decodable {
        let text: String
        let asciiOnly: Bool
        let normalized: String
    }

    private struct Text: Decodable {
        struct Options: Decodable {
            let maxTokens: Int?
            let normalize: Bool?
            let pauses: Bool?
            let plainTypography: Bool?
            let glueShortChunks: Bool?
            let cutAtWords: Bool?
        }

        /// A chunk, or silence of so many samples.
        struct Item: Decodable {
            let text: String?
            let ids: [Int]?
            let maxFrames: Int?
            let framesAfterEos: Int?
            let silence: Int?
        }

        let text: String
        let options: Options
        let items: [Item]
    }

    private struct NoiseCase: Decodable {
        let seed: UInt64
        let chunk: Int
        let firstFrame: Int
        let frames: Int
        let temperature: Double
        let clamp: Double?
        let array: String
    }

    private struct Run: Decodable {
        let name: String
        let voice: String?
        let ids: [Int]?
        let seed: UInt64?
        let chunk: Int?
        let temperature: Double?
        let flowSteps: Int?
        let frames: Int?
        let spoken: Int?
        let eosFrame: Int?
        let latents: String?
        let attention: String?
        let eosLogits: String?
        let audio: String?
    }

    func testEveryExport() throws {
        let recorded = try Fixtures.read("speech", as: [RecordedSpeech].self)
        XCTAssertFalse(recorded.isEmpty)
        for one in recorded {
            var options = ModelOptions()
            options.cacheFolder = nil
            let model = try LoadedModel(URL(fileURLWithPath: one.folder), options)
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            let data = try Data(contentsOf: URL(fileURLWithPath: one.folder + "/vectors.json"))
            let vectors = try decoder.decode(Vectors.self, from: data)
            let arrays = try Safetensors(one.folder + "/vectors.safetensors")
            try checkTexts(vectors, model)
            try checkNoise(vectors.noise, arrays, model)
            var runs = 0
            for run in vectors.runs where run.ids != nil {
                try check(run, vectors.tolerance, arrays, model)
                runs += 1
            }
            XCTAssertGreaterThanOrEqual(runs, 2, one.folder)
        }
    }

    private func checkTexts(_ vectors: Vectors, _ model: LoadedModel) throws {
        for one in vectors.tokenizer {
            XCTAssertEqual(model.tokenizer.encode(one.text.scalars), one.ids, one.text)
            XCTAssertEqual(model.tokenizer.decode(one.ids), one.decoded.scalars, one.text)
        }
        for one in vectors.prepare {
            var rules = TextRules(model.engine.manifest.text)
            if let other = one.rules {
                rules.padWithSpaces = other.padWithSpacesForShortInputs
                rules.removeSemicolons = other.removeSemicolons
                rules.appendTerminalPunctuation = other.appendTerminalPunctuation
                rules.capitalizeFirstLetter = other.capitalizeFirstLetter
                rules.replacements = Dictionary(
                    uniqueKeysWithValues: other.replaceCharacters.map { ($0.key.unicodeScalars.first!, $0.value.scalars) })
            }
            XCTAssertEqual(try rules.prepare(Traced(one.text.scalars)).text.scalars, one.prepared.scalars, one.text)
        }
        for one in vectors.normalize {
            XCTAssertEqual(readEnglish(Traced(one.text.scalars), asciiOnly: one.asciiOnly).scalars, one.normalized.scalars, one.text)
        }
        for one in vectors.texts { try check(one, model) }
    }

    private func check(_ one: Text, _ model: LoadedModel) throws {
        var options = TextOptions()
        options.maxTokens = one.options.maxTokens
        options.normalize = one.options.normalize ?? false  // docs/contract.md: not read
        options.pauses = one.options.pauses ?? false
        options.plainTypography = one.options.plainTypography ?? false
        options.glueShortChunks = one.options.glueShortChunks ?? false
        options.cutAtWords = one.options.cutAtWords ?? false
        let found = Array(try model.pipeline(options).items(one.text))
        XCTAssertEqual(found.count, one.items.count, one.text)
        let manifest = model.engine.manifest
        for (item, expected) in zip(found, one.items) {
            switch item {
            case .silence(let samples): XCTAssertEqual(samples, expected.silence, one.text)
            case .chunk(let prompt):
                let tail = manifest.generation.framesAfterEos ?? prompt.framesAfterEos
                XCTAssertEqual(prompt.ids, expected.ids, one.text)
                XCTAssertEqual(prompt.maxFrames, expected.maxFrames, one.text)
                XCTAssertEqual(tail, expected.framesAfterEos, one.text)
                // With letters of its own, a model's chunks are named by the user's words here.
                if !manifest.text.ownLetters { XCTAssertEqual(prompt.text, expected.text, one.text) }
            }
        }
    }

    private func checkNoise(_ one: NoiseCase, _ arrays: Safetensors, _ model: LoadedModel) throws {
        let noise = Noise(seed: one.seed, chunk: one.chunk, temperature: one.temperature, clamp: one.clamp)
        let found = noise.frames(one.firstFrame, one.frames, width: model.engine.flowLM.latentWidth)
        XCTAssertEqual(found, try floats(arrays, one.array))
    }

    private func check(_ run: Run, _ tolerance: Float, _ arrays: Safetensors, _ model: LoadedModel) throws {
        let (engine, voice) = (model.engine, try model.voice(XCTUnwrap(run.voice)))
        let (frames, spoken) = (try XCTUnwrap(run.frames), try XCTUnwrap(run.spoken))
        let latents = try engine.flowLM.start(voice, XCTUnwrap(run.ids), flowSteps: XCTUnwrap(run.flowSteps))
        let noise = Noise(
            seed: try XCTUnwrap(run.seed), chunk: try XCTUnwrap(run.chunk),
            temperature: try XCTUnwrap(run.temperature))
        var (found, logits, looked, eosFrame) = ([[Float]](), [Float](), [Float](), Int?.none)
        for frame in 0..<frames {
            let draw = noise.frames(frame, 1, width: engine.flowLM.latentWidth)
            let (latent, logit) = try latents.step(noise: draw[...])
            found.append(latent)
            logits.append(logit)
            looked += try XCTUnwrap(latents.attention()).weights
            let generation = engine.manifest.generation
            if eosFrame == nil, frame >= generation.framesBeforeEos, Double(logit) > generation.eosThreshold {
                eosFrame = frame
            }
        }
        try compare(found.flatMap { $0 }, arrays, XCTUnwrap(run.latents), tolerance)
        try compare(logits, arrays, XCTUnwrap(run.eosLogits), tolerance)
        try compare(looked, arrays, XCTUnwrap(run.attention), tolerance)
        guard let audio = run.audio else { return }
        XCTAssertEqual(eosFrame, run.eosFrame, run.name)
        let (decoder, schedule) = (try engine.takeDecoder(), engine.manifest.audio.decoderSchedule)
        var (samples, done, calls) = ([Float](), 0, 0)
        while done < spoken {
            let wanted = min(schedule[min(calls, schedule.count - 1)], spoken - done)
            let size = schedule.filter { $0 <= wanted }.max()!
            samples += try decoder.decode(Array(found[done..<done + size]))
            (done, calls) = (done + size, calls + 1)
        }
        fadeIn(&samples, engine.manifest.audio.fadeInSamples)
        try compare(samples, arrays, audio, tolerance)
    }

    private func compare(_ found: [Float], _ arrays: Safetensors, _ name: String, _ tolerance: Float) throws {
        let expected = try floats(arrays, name)
        let largest = expected.map(abs).max() ?? 0
        XCTAssertLessThanOrEqual(largestDifference(found, expected), tolerance * largest, name)
    }

    private func floats(_ arrays: Safetensors, _ name: String) throws -> [Float] {
        let bytes = try XCTUnwrap(arrays.entries[name]).bytes
        return (0..<bytes.count / 4).map { Float(bitPattern: bytes.number(UInt32.self, at: 4 * $0)) }
    }
}
