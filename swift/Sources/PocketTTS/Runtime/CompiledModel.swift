import CLiteRT
import Foundation

/// What one entry point of a model takes and returns, in call order.
struct Signature {
    let name: String
    let index: Int
    let inputs: [TensorSpec]
    let outputs: [TensorSpec]
}

/// A compiled `.tflite` model on the CPU; its signatures run on tensors that the caller owns.
final class CompiledModel: @unchecked Sendable {
    let signatures: [String: Signature]
    private let file: MappedFile
    private let turns: Turns
    private let model: LiteRtModel
    private var compiled: LiteRtCompiledModel?

    /// - Parameters:
    ///   - threads: how many threads a run uses, the calling one included.
    ///   - weightCache: file of packed weights, written when it is missing and mapped afterwards,
    ///     or `WeightCache.inMemory`.
    ///   - turns: held during a run; models that share it run one at a time.
    init(_ file: MappedFile, threads: Int, weightCache: String, turns: Turns) throws {
        self.file = file
        self.turns = turns
        let environment = try LiteRTEnvironment.shared.get().value
        let model: LiteRtModel = try handle("LiteRtCreateModelFromBuffer") {
            LiteRtCreateModelFromBuffer(environment, file.bytes.baseAddress, file.bytes.count, $0)
        }
        self.model = model
        do {
            let options = try cpuOptions(threads: threads, weightCache: weightCache)
            defer { LiteRtDestroyOptions(options) }
            signatures = try readSignatures(model)
            compiled = try handle("LiteRtCreateCompiledModel") {
                LiteRtCreateCompiledModel(environment, model, options, $0)
            }
        } catch {
            LiteRtDestroyModel(model)
            throw error
        }
        file.releasePages()
    }

    deinit { close() }

    /// Tie a signature to tensors; the inputs and outputs that are not given get fresh ones.
    func bind(
        _ name: String, inputs: [String: Tensor] = [:], outputs: [String: Tensor] = [:]
    ) throws -> Call {
        guard let signature = signatures[name] else {
            throw TTSError.folder("\(file.path) has no signature \(name). Export the model again.")
        }
        return try Call(
            self, signature,
            try complete(signature.inputs, inputs), try complete(signature.outputs, outputs)
        )
    }

    /// Zeros for every tensor that goes in under the name under which it came out.
    func states() throws -> [String: Tensor] {
        var found: [String: Tensor] = [:]
        for signature in signatures.values {
            let names = Set(signature.outputs.map(\.name))
            for spec in signature.inputs where names.contains(spec.name) && found[spec.name] == nil {
                found[spec.name] = try Tensor(spec)
            }
        }
        return found
    }

    fileprivate func run(
        _ index: Int,
        _ inputs: UnsafeMutableBufferPointer<LiteRtTensorBuffer?>,
        _ outputs: UnsafeMutableBufferPointer<LiteRtTensorBuffer?>
    ) throws {
        try turns.run {
            guard let compiled else {
                throw TTSError.generation("The model was unloaded. Load it again.")
            }
            let status = LiteRtRunCompiledModel(
                compiled, index, inputs.count, inputs.baseAddress!, outputs.count,
                outputs.baseAddress!)
            try check(status, "LiteRtRunCompiledModel")
        }
    }

    /// Give back the memory of what was read from the file: what runs are the packed weights.
    func releasePages() { file.releasePages() }

    /// Free the model; runs afterwards throw.
    func close() {
        turns.run {
            guard let compiled else { return }
            LiteRtDestroyCompiledModel(compiled)
            LiteRtDestroyModel(model)
            self.compiled = nil
        }
    }
}

/// A signature with its tensors: write `inputs`, call `run`, read `outputs`.
final class Call {
    let inputs: [String: Tensor]
    let outputs: [String: Tensor]
    private let model: CompiledModel
    private let index: Int
    private let handles: UnsafeMutableBufferPointer<LiteRtTensorBuffer?>
    private let inputCount: Int

    fileprivate init(
        _ model: CompiledModel, _ signature: Signature, _ inputs: [String: Tensor],
        _ outputs: [String: Tensor]
    ) throws {
        (self.model, index, self.inputs, self.outputs) = (model, signature.index, inputs, outputs)
        inputCount = signature.inputs.count
        let ordered =
            signature.inputs.map { inputs[$0.name]!.buffer }
            + signature.outputs.map { outputs[$0.name]!.buffer }
        handles = .allocate(capacity: ordered.count)
        _ = handles.initialize(fromContentsOf: ordered)
    }

    deinit { handles.deallocate() }

    func run() throws {
        try model.run(
            index,
            UnsafeMutableBufferPointer(rebasing: handles[..<inputCount]),
            UnsafeMutableBufferPointer(rebasing: handles[inputCount...])
        )
    }

    /// An input or output that the signature must have.
    func input(_ name: String) throws -> Tensor { try wanted(inputs[name], name) }
    func output(_ name: String) throws -> Tensor { try wanted(outputs[name], name) }

    private func wanted(_ tensor: Tensor?, _ name: String) throws -> Tensor {
        guard let tensor else {
            throw TTSError.folder("The model has no tensor \(name). Export the model again.")
        }
        return tensor
    }
}

private func complete(
    _ specs: [TensorSpec], _ given: [String: Tensor]
) throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for spec in specs {
        let tensor = try given[spec.name] ?? Tensor(spec)
        guard tensor.shape == spec.shape else {
            throw TTSError.folder(
                "The tensor \(spec.name) has the shape \(tensor.shape), the model wants "
                    + "\(spec.shape). Export the model again.")
        }
        tensors[spec.name] = tensor
    }
    return tensors
}

/// Options of a compiled model: CPU, a thread count, and the file of packed weights.
private func cpuOptions(threads: Int, weightCache: String) throws -> LiteRtOptions {
    guard !weightCache.contains(where: { "\"\\\n".contains($0) }) else {
        throw TTSError.option("The cache folder \(weightCache) has a quote, backslash or newline.")
    }
    let text = "num_threads = \(threads)\nweight_cache_file_path = \"\(weightCache)\"\n"
    let options: LiteRtOptions = try handle("LiteRtCreateOptions", LiteRtCreateOptions)
    do {
        try check(
            LiteRtSetOptionsHardwareAccelerators(
                options, LiteRtHwAcceleratorSet(kLiteRtHwAcceleratorCpu.rawValue)),
            "LiteRtSetOptionsHardwareAccelerators")
        let opaque: LiteRtOpaqueOptions = try handle("LiteRtCreateOpaqueOptions") {
            LiteRtCreateOpaqueOptions("xnnpack", strdup(text), { free($0) }, $0)
        }
        try check(LiteRtAddOpaqueOptions(options, opaque), "LiteRtAddOpaqueOptions")
    } catch {
        LiteRtDestroyOptions(options)
        throw error
    }
    return options
}

private func readSignatures(_ model: LiteRtModel) throws -> [String: Signature] {
    var count = 0
    try check(LiteRtGetNumModelSignatures(model, &count), "LiteRtGetNumModelSignatures")
    var found: [String: Signature] = [:]
    for index in 0..<count {
        let signature: LiteRtSignature = try handle("LiteRtGetModelSignature") {
            LiteRtGetModelSignature(model, index, $0)
        }
        let name = try text("LiteRtGetSignatureKey") { LiteRtGetSignatureKey(signature, $0) }
        let inputs = try tensors(
            signature, LiteRtGetNumSignatureInputs, LiteRtGetSignatureInputName,
            LiteRtGetSignatureInputTensorByIndex)
        let outputs = try tensors(
            signature, LiteRtGetNumSignatureOutputs, LiteRtGetSignatureOutputName,
            LiteRtGetSignatureOutputTensorByIndex)
        found[name] = Signature(name: name, index: index, inputs: inputs, outputs: outputs)
    }
    return found
}

private func tensors(
    _ signature: LiteRtSignature,
    _ countOf: (LiteRtSignature?, UnsafeMutablePointer<Int>?) -> LiteRtStatus,
    _ nameOf: (LiteRtSignature?, Int, UnsafeMutablePointer<UnsafePointer<CChar>?>?) -> LiteRtStatus,
    _ tensorAt: (LiteRtSignature?, Int, UnsafeMutablePointer<LiteRtTensor?>?) -> LiteRtStatus
) throws -> [TensorSpec] {
    var count = 0
    try check(countOf(signature, &count), "LiteRtGetNumSignatureInputs/Outputs")
    return try (0..<count).map { index in
        let name = try text("LiteRtGetSignatureInputName/OutputName") { nameOf(signature, index, $0) }
        let tensor: LiteRtTensor = try handle("LiteRtGetSignature…TensorByIndex") {
            tensorAt(signature, index, $0)
        }
        var type = LiteRtRankedTensorType()
        try check(LiteRtGetRankedTensorType(tensor, &type), "LiteRtGetRankedTensorType")
        let isInteger = type.element_type == kLiteRtElementTypeInt32
        guard isInteger || type.element_type == kLiteRtElementTypeFloat32 else {
            throw TTSError.folder("The tensor \(name) is neither float32 nor int32. Export again.")
        }
        return TensorSpec(name: name, shape: type.layout.shape, isInteger: isInteger)
    }
}

private func text(
    _ function: String, _ call: (UnsafeMutablePointer<UnsafePointer<CChar>?>) -> LiteRtStatus
) throws -> String {
    var result: UnsafePointer<CChar>?
    try check(call(&result), function)
    return result.map { String(cString: $0) } ?? ""
}
