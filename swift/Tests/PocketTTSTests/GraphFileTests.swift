import XCTest

@testable import PocketTTS

/// Files that are cut down to some signatures.
final class GraphFileTests: XCTestCase {
    private func path() throws -> String {
        try Fixtures.export().folder.appendingPathComponent("flow_lm.tflite").path
    }

    private func compile(_ file: MappedFile) throws -> CompiledModel {
        try CompiledModel(file, threads: 1, weightCache: WeightCache.inMemory, turns: Turns())
    }

    /// What a signature makes of some numbers. Run twice, with pages given back in between.
    private func outputs(_ model: CompiledModel, _ name: String) throws -> [String: [Float]] {
        let call = try model.bind(name)
        for spec in model.signatures[name]!.inputs {
            let tensor = call.inputs[spec.name]!
            for i in 0..<tensor.count {
                if spec.isInteger { tensor.integers[i] = Int32(i % 5) } else { tensor.floats[i] = Float(i % 3) }
            }
        }
        try call.run()
        model.releasePages()
        try call.run()
        return call.outputs.mapValues { Array($0.values) }
    }

    func testSomeSignaturesAreThoseOfTheFile() throws {
        let path = try path()
        let names = try GraphFile(MappedFile(path)).signatureNames()
        XCTAssertGreaterThan(names.count, 6)
        let whole = try compile(MappedFile(path))
        XCTAssertEqual(Set(names), Set(whole.signatures.keys))
        for begin in 0..<3 {
            let kept = Set(stride(from: begin, to: names.count, by: 3).map { names[$0] })
            let file = try MappedFile(path, writable: true)
            try GraphFile(file).keep(kept)
            let some = try compile(file)
            XCTAssertEqual(Set(some.signatures.keys), kept)
            for name in kept {
                XCTAssertEqual(try outputs(some, name), try outputs(whole, name), name)
            }
        }
        XCTAssertEqual(try GraphFile(MappedFile(path)).signatureNames(), names)
    }

    func testWhatIsNoModelIsAnError() throws {
        let place = try Fixtures.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: place) }
        let whole = try Data(contentsOf: URL(fileURLWithPath: path()))
        let wrong = [Data("no model".utf8), Data(count: 4096), Data(repeating: 255, count: 4096), whole.prefix(60)]
        for (number, data) in wrong.enumerated() {
            let url = place.appendingPathComponent("\(number).tflite")
            try data.write(to: url)
            let file = try MappedFile(url.path, writable: true)
            XCTAssertThrowsError(try GraphFile(file).keep(["embed_text"]), "\(number)") {
                XCTAssert($0 is TTSError, "\($0)")
            }
        }
    }

    /// Speech that outgrows the smallest caches goes on in larger ones, opened for it.
    func testGroupsAreOpenedWhenTheyAreNeeded() async throws {
        let (folder, texts) = try Fixtures.export()
        let cache = try Fixtures.temporaryFolder()
        defer { try? FileManager.default.removeItem(at: cache) }
        var speech: [[Float]] = []
        let long = texts.max { $0.text.count < $1.text.count }!
        for cacheFolder in [cache, nil] {
            var options = ModelOptions()
            options.cacheFolder = cacheFolder
            let tts = try await TTSModel(folder: folder, options: options)
            let model = tts.loaded.engine.flowLM.model
            let before = model.openGroups
            XCTAssertEqual(before.count, 1)
            let capacities = tts.loaded.engine.flowLM.capacities
            XCTAssertEqual(before, cacheFolder == nil ? ["all"] : ["c\(capacities[0])"])
            speech.append(try await tts.synthesize(long.text, seed: long.seed).samples)
            if cacheFolder != nil {
                // The user may empty the cache while the model is in use.
                for name in try FileManager.default.contentsOfDirectory(atPath: cache.path) {
                    try FileManager.default.removeItem(at: cache.appendingPathComponent(name))
                }
                _ = try model.bind("decode_1_c\(capacities[1])")
                XCTAssertEqual(model.openGroups, Set(capacities.prefix(2).map { "c\($0)" }))
            }
        }
        XCTAssertLessThan(largestDifference(speech[0], speech[1]), 1e-6)
    }
}
