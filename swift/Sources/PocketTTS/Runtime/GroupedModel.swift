import Foundation

/// One model file, and a `CompiledModel` for each group of its signatures that is in use.
///
/// LiteRT compiles every signature of a file that it opens, with about 5 ms and 2 MB for each of a
/// 6-layer model, and most speech needs less than half of them. Weights that are packed in memory
/// belong to one `CompiledModel`: then all signatures are one group.
final class GroupedModel: @unchecked Sendable {
    let names: [String]
    private let path: String
    private let groupOf: (String) -> String
    private let compile: (Set<String>?, String) throws -> CompiledModel
    private let packed: String  // where the weights are
    private let monitor = Monitor()
    private var opened: [String: CompiledModel] = [:]
    private var isClosed = false

    /// - Parameters:
    ///   - first: a signature whose group is opened at once.
    ///   - groupOf: the group of a signature, by its name.
    ///   - compile: opens these signatures, or all, with packed weights in a file or in memory.
    init(
        _ path: String, sha256: String, size: Int, cache: WeightCache, first: String,
        groupOf: @escaping (String) -> String,
        compile: @escaping (Set<String>?, String) throws -> CompiledModel
    ) throws {
        let names = try GraphFile(MappedFile(path)).signatureNames()
        let wanted = Set(names.filter { groupOf($0) == groupOf(first) })
        var used = WeightCache.inMemory
        let model = try cache.model(sha256: sha256, size: size) { packed, whole in
            used = packed
            return try compile(whole ? nil : wanted, packed)
        }
        (self.path, self.names, packed, self.compile) = (path, names, used, compile)
        self.groupOf = used == WeightCache.inMemory ? { _ in "all" } : groupOf
        opened[self.groupOf(first)] = model
    }

    /// The model that has this signature; opens its group if it is not open.
    func model(_ name: String) throws -> CompiledModel {
        guard names.contains(name) else {
            throw TTSError.folder("\(path) has no signature \(name). Export the model again.")
        }
        let group = groupOf(name)
        return try monitor.locked {
            guard !isClosed else { throw TTSError.generation("The model was unloaded. Load it again.") }
            if let model = opened[group] { return model }
            // Where the cache was emptied meanwhile, XNNPACK would begin a file of this group alone.
            let there = access(packed, R_OK) == 0
            let model = try compile(
                Set(names.filter { groupOf($0) == group }), there ? packed : WeightCache.inMemory)
            opened[group] = model
            return model
        }
    }

    /// The groups that are in use.
    var openGroups: Set<String> { monitor.locked { Set(opened.keys) } }

    /// `CompiledModel.bind` of the model that has this signature.
    func bind(_ name: String, inputs: [String: Tensor] = [:]) throws -> Call {
        try model(name).bind(name, inputs: inputs)
    }

    /// Give back the memory of what was read from the file.
    func releasePages() {
        monitor.locked { for model in opened.values { model.releasePages() } }
    }

    /// Free what is open; runs afterwards throw.
    func close() {
        monitor.locked {
            isClosed = true
            for model in opened.values { model.close() }
        }
    }
}
