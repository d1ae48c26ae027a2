import Foundation

/// An export on disk, whose files have the sizes that its manifest says.
struct ModelFolder: Sendable {
    static let format = "pocket-tts-jax export"
    static let formatVersion = 2

    let path: String
    let manifest: Manifest
    /// Of the manifest: it names the version of every file.
    let fingerprint: String

    /// Throws `TTSError.folder` for a manifest that is missing, unreadable or of another version,
    /// and for a file that is missing or cut short.
    init(_ url: URL) throws {
        path = url.path
        let file = try MappedFile(path + "/manifest.json")
        fingerprint = SHA256.hex(file.bytes)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let data = Data(file.bytes)
        guard let header = try? decoder.decode(Header.self, from: data),
            header.format == ModelFolder.format
        else { throw TTSError.folder("\(path)/manifest.json does not describe an export. \(again)") }
        guard header.formatVersion == ModelFolder.formatVersion else {
            throw TTSError.folder(
                "\(path) has format version \(header.formatVersion), this package reads "
                    + "\(ModelFolder.formatVersion). \(again)")
        }
        do { manifest = try decoder.decode(Manifest.self, from: data) } catch {
            throw TTSError.folder("\(path)/manifest.json lacks something (\(error)). \(again)")
        }
        try checkContents()
        try checkSizes()
    }

    func has(_ name: String) -> Bool { manifest.files[name] != nil }

    func file(_ name: String) throws -> String {
        guard has(name) else { throw TTSError.folder("\(path) has no \(name). \(again)") }
        return path + "/" + name
    }

    /// Hash all files. Throws `TTSError.folder` for the first that was changed.
    func verify() throws {
        try verifyManifest()
        for (name, entry) in manifest.files.sorted(by: { $0.key < $1.key }) {
            let file = try MappedFile(path + "/" + name)
            defer { file.releasePages() }
            let found = SHA256.hex(file.bytes)
            guard found == entry.sha256 else {
                throw TTSError.folder(
                    "\(path)/\(name) is damaged: its SHA-256 is \(found), the manifest says "
                        + "\(entry.sha256). \(again)")
            }
        }
    }

    /// The manifest lists every file but itself: its checksum is in `SHA256SUMS`.
    private func verifyManifest() throws {
        let sums = path + "/SHA256SUMS"
        guard FileManager.default.fileExists(atPath: sums) else { return }  // of early exports
        let text = try? String(contentsOfFile: sums, encoding: .utf8)
        guard text?.contains("\(fingerprint)  manifest.json") == true else {
            throw TTSError.folder("\(path)/manifest.json is not the one in SHA256SUMS. \(again)")
        }
    }

    private func checkContents() throws {
        let (m, least) = (manifest, [manifest.cache.layers, manifest.cache.kvHeads])
        let counts =
            m.cache.capacities + least
            + [
                m.cache.headDim, m.audio.sampleRate, m.audio.frameSize, m.audio.stepsPerFrame,
                m.generation.maxTokens, m.tokenizer.size, m.constants.bos.count,
            ] + m.audio.decoderSchedule + m.generation.flowSteps
        let lists = [m.cache.capacities, m.audio.decoderSchedule, m.generation.flowSteps]
        let whole = counts.allSatisfy { 0 < $0 && $0 < 1 << 31 } && !lists.contains { $0.isEmpty }
        let rules = m.text.replaceCharacters.keys.allSatisfy { $0.unicodeScalars.count == 1 }
        let words = m.generation.framesAfterEosByWords
        let frames = [
            m.generation.framesBeforeEos, m.generation.framesAfterEos ?? 0, words.then, words.else,
        ]
        guard whole, rules, 8000...192_000 ~= m.audio.sampleRate, 1...1000 ~= m.audio.frameRate,
            m.generation.temperature >= 0, 0.1...1000 ~= m.generation.tokensPerSecond,
            0...1000 ~= m.generation.extraSeconds, frames.allSatisfy({ 0...1_000_000 ~= $0 }),
            0...m.audio.frameSize ~= m.audio.fadeInSamples
        else { throw TTSError.folder("\(path)/manifest.json holds impossible values. \(again)") }
    }

    private func checkSizes() throws {
        var mistakes: [String] = []
        for (name, entry) in manifest.files.sorted(by: { $0.key < $1.key }) {
            var state = stat()
            if name.hasPrefix("/") || name.split(separator: "/").contains("..") {
                mistakes.append("\(name) lies outside the folder")
            } else if stat(path + "/" + name, &state) != 0 {
                mistakes.append("\(name) is missing")
            } else if Int(state.st_size) != entry.size {
                mistakes.append("\(name) has \(state.st_size) bytes instead of \(entry.size)")
            }
        }
        guard mistakes.isEmpty else {
            throw TTSError.folder(
                "The export \(path) is damaged: \(mistakes.joined(separator: "; ")). \(again)")
        }
    }

    private struct Header: Decodable {
        let format: String
        let formatVersion: Int
    }
}

private let again = "Export the model again (python -m exporters.tflite) or copy the folder again."
