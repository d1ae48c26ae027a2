import Foundation

/// XNNPACK's packed weights, kept in a file that later processes map instead of packing again.
///
/// Packing takes a second and, without a file, as much memory again. One file serves one model
/// file, one LiteRT and one kind of processor; its name says which. It is built aside and renamed,
/// so that a reader never meets half a file; a stamp beside it has its size and time, so that a
/// file changed afterwards is built again.
struct WeightCache: Sendable {
    /// What XNNPACK calls a cache that lives in memory.
    static let inMemory = ":memory"

    /// Where files are kept; nil packs into memory.
    let folder: String?

    /// Load a model with its packed weights. `load` gets the path of the cache, and whether all
    /// signatures must be opened, because the weights of all are packed.
    ///
    /// Where the folder cannot be written or has no room, or another process is building the same
    /// file at this moment, the weights are packed into memory.
    func model(
        sha256: String, size: Int, _ load: (_ packed: String, _ whole: Bool) throws -> CompiledModel
    ) throws -> CompiledModel {
        guard let folder else { return try load(WeightCache.inMemory, true) }
        let key = cacheKey(sha256)
        let path = "\(folder)/\(key).xnnpack"
        if isIntact(path) {
            if let model = try? load(path, false) { return model }
            unlink(stampPath(path))
            unlink(path)
        }
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let lock = open("\(folder)/\(key).lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
        guard lock >= 0 else { return try load(WeightCache.inMemory, true) }
        defer { close(lock) }  // releases the lock
        guard flock(lock, LOCK_EX | LOCK_NB) == 0, isIntact(path) || build(path, size, load) else {
            return try load(WeightCache.inMemory, true)
        }
        return try load(path, false)
    }

    /// Pack into a new file beside `path` and rename it; false where that is not possible.
    private func build(
        _ path: String, _ size: Int, _ load: (String, Bool) throws -> CompiledModel
    ) -> Bool {
        guard freeBytes(folder!) > 2 * size else { return false }  // packed weights take about one
        let part = "\(path).part"  // ours alone: the caller holds the lock
        unlink(part)
        defer { unlink(part) }
        guard let model = try? load(part, true) else { return false }
        model.close()
        guard rename(part, path) == 0, let stamp = stamp(path) else { return false }
        return (try? stamp.write(toFile: stampPath(path), atomically: true, encoding: .utf8)) != nil
    }

    private func isIntact(_ path: String) -> Bool {
        guard let expected = try? String(contentsOfFile: stampPath(path), encoding: .utf8) else {
            return false
        }
        return stamp(path) == expected
    }

    private func stampPath(_ path: String) -> String { path + ".stamp" }
}

/// Size and time of a file: another one under its name has others.
func stamp(_ path: String) -> String? {
    var state = stat()
    guard stat(path, &state) == 0 else { return nil }
    #if canImport(Darwin)
        let time = state.st_mtimespec
    #else
        let time = state.st_mtim
    #endif
    return "\(state.st_size) \(time.tv_sec) \(time.tv_nsec)"
}

private func freeBytes(_ folder: String) -> Int {
    var state = statvfs()
    guard statvfs(folder, &state) == 0 else { return 0 }
    return Int(state.f_bavail) * Int(state.f_frsize)
}

private func cacheKey(_ sha256: String) -> String {
    var key = "\(sha256)\n\(libraryStamp())\n\(processor())"
    return key.withUTF8 { String(SHA256.hex(UnsafeRawBufferPointer($0)).prefix(32)) }
}

/// Which LiteRT this process runs: the file that holds its code.
private func libraryStamp() -> String {
    #if canImport(Darwin)
        var info = Dl_info()
        guard dladdr(liteRTCode, &info) != 0, let name = info.dli_fname else { return "" }
        return stamp(String(cString: name)) ?? ""
    #else
        let maps = (try? String(contentsOfFile: "/proc/self/maps", encoding: .utf8)) ?? ""
        let line = maps.split(separator: "\n").first { $0.hasSuffix("/libLiteRt.so") }
        return line.flatMap { $0.firstIndex(of: "/").map { stamp(String(line![$0...])) ?? "" } } ?? ""
    #endif
}

/// What decides the layout of packed weights: the model of the processor and its features.
private func processor() -> String {
    #if canImport(Darwin)
        var name = utsname()
        uname(&name)
        return withUnsafeBytes(of: &name.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    #else
        let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let first = text.components(separatedBy: "\n\n")[0].components(separatedBy: "\n")
        let wanted = ["model name", "flags", "Features", "CPU part"]
        return first.filter { line in wanted.contains { line.hasPrefix($0) } }.joined(separator: "\n")
    #endif
}
