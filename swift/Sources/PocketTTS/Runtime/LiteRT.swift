import CLiteRT

/// Throws `TTSError.generation` for any status but success.
func check(_ status: LiteRtStatus, _ function: String) throws {
    guard status == kLiteRtStatusOk else {
        throw TTSError.generation("LiteRT: \(function) failed with status \(status.rawValue).")
    }
}

/// Call a function whose last argument receives a handle, and return that handle.
func handle<Handle>(
    _ function: String, _ call: (UnsafeMutablePointer<Handle?>) -> LiteRtStatus
) throws -> Handle {
    var result: Handle?
    try check(call(&result), function)
    guard let result else { throw TTSError.generation("LiteRT: \(function) returned nothing.") }
    return result
}

/// The process's LiteRT environment: CPU only (nothing probes for a GPU), errors logged.
enum LiteRTEnvironment {
    struct Handle: @unchecked Sendable { let value: LiteRtEnvironment }

    static let shared: Result<Handle, any Error> = Result {
        let options = [
            option(
                kLiteRtEnvOptionTagAutoRegisterAccelerators, Int64(kLiteRtHwAcceleratorCpu.rawValue)),
            option(kLiteRtEnvOptionTagMinLoggerSeverity, 3),  // errors
        ]
        let environment = try handle("LiteRtCreateEnvironment") {
            LiteRtCreateEnvironment(Int32(options.count), options, $0)
        }
        return Handle(value: environment)
    }

    private static func option(_ tag: LiteRtEnvOptionTag, _ number: Int64) -> LiteRtEnvOption {
        var value = LiteRtAny()
        value.type = kLiteRtAnyTypeInt
        value.int_value = number
        return LiteRtEnvOption(tag: tag, value: value)
    }
}

extension LiteRtLayout {
    /// `dimensions` is a tuple in Swift.
    var shape: [Int] {
        withUnsafeBytes(of: dimensions) { raw in
            raw.bindMemory(to: Int32.self).prefix(Int(rank)).map(Int.init)
        }
    }

    init(shape: [Int]) {
        self.init()
        rank = UInt32(shape.count)
        withUnsafeMutableBytes(of: &dimensions) { raw in
            let sizes = raw.bindMemory(to: Int32.self)
            for (i, size) in shape.enumerated() { sizes[i] = Int32(size) }
        }
    }
}

#if canImport(Darwin)
    /// An address inside LiteRT's code.
    var liteRTCode: UnsafeRawPointer {
        let function: @convention(c) (LiteRtModel?) -> Void = LiteRtDestroyModel
        return unsafeBitCast(function, to: UnsafeRawPointer.self)
    }
#endif
