import Foundation

/// Notes which folders were hashed, and what their files' sizes and times were then.
struct VerifiedFiles {
    /// Where the notes are; nil keeps none.
    let folder: String?

    /// Hash the files of an export unless that was done and they are as they were.
    func verify(_ export: ModelFolder, _ check: ModelOptions.Check) throws {
        if check == .never { return }
        let state = state(export)
        if check == .once, let note = note(export),
            (try? String(contentsOfFile: note, encoding: .utf8)) == state
        {
            return
        }
        try export.verify()
        guard let folder, let note = note(export) else { return }
        // A note that cannot be written costs time at the next loading, no more.
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try? state.write(toFile: note, atomically: true, encoding: .utf8)
    }

    private func note(_ export: ModelFolder) -> String? {
        var key = export.path + "\n" + export.fingerprint
        return folder.map { $0 + "/" + key.withUTF8 { SHA256.hex(UnsafeRawBufferPointer($0)).prefix(32) } + ".checked" }
    }

    private func state(_ export: ModelFolder) -> String {
        (["SHA256SUMS"] + export.manifest.files.keys.sorted()).map { "\($0) \(stamp(export.path + "/" + $0) ?? "")" }
            .joined(separator: "\n")
    }
}
