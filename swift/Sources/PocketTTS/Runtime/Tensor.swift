import CLiteRT
import Foundation

/// Name, shape and type of one input or output of a signature.
struct TensorSpec {
    let name: String
    let shape: [Int]
    let isInteger: Bool  // int32; else float32

    var count: Int { shape.reduce(1, *) }
}

/// A zeroed array of float32 or int32 that LiteRT reads and writes in place.
///
/// The owner decides which thread may touch it; a run reads or writes it while it lasts.
final class Tensor: @unchecked Sendable {
    let shape: [Int]
    let count: Int
    let floats: UnsafeMutablePointer<Float>
    let buffer: LiteRtTensorBuffer
    private let memory: AlignedMemory

    init(_ shape: [Int], integers: Bool = false) throws {
        self.shape = shape
        count = shape.reduce(1, *)
        memory = try AlignedMemory(byteCount: 4 * count)
        floats = memory.start.bindMemory(to: Float.self, capacity: count)
        var type = LiteRtRankedTensorType(
            element_type: integers ? kLiteRtElementTypeInt32 : kLiteRtElementTypeFloat32,
            layout: LiteRtLayout(shape: shape)
        )
        let (start, size) = (memory.start, 4 * count)
        buffer = try handle("LiteRtCreateTensorBufferFromHostMemory") {
            LiteRtCreateTensorBufferFromHostMemory(&type, start, size, nil, $0)
        }
    }

    convenience init(_ spec: TensorSpec) throws { try self.init(spec.shape, integers: spec.isInteger) }

    deinit { LiteRtDestroyTensorBuffer(buffer) }

    var integers: UnsafeMutablePointer<Int32> {
        UnsafeMutableRawPointer(floats).assumingMemoryBound(to: Int32.self)
    }

    var values: UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(start: floats, count: count)
    }

    func clear() { memset(floats, 0, 4 * count) }
}

/// Zeroed memory that starts at a multiple of 64 bytes and goes on for 64 behind its end: LiteRT
/// refuses other starts, and XNNPACK may read a little beyond the end.
private final class AlignedMemory {
    static let alignment = 64
    // From this size on the system gives pages: they cost nothing until they are used, and go back.
    private static let mapped = 1 << 16

    let start: UnsafeMutableRawPointer
    private let size: Int

    init(byteCount: Int) throws {
        size = byteCount + AlignedMemory.alignment
        if size >= AlignedMemory.mapped {
            let flags = MAP_PRIVATE | mapAnonymous
            guard let address = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0),
                address != MAP_FAILED
            else { throw TTSError.generation("There is no memory for \(size) bytes.") }
            start = address
        } else {
            start = .allocate(byteCount: size, alignment: AlignedMemory.alignment)
            memset(start, 0, size)
        }
    }

    deinit {
        if size >= AlignedMemory.mapped { munmap(start, size) } else { start.deallocate() }
    }
}

#if canImport(Darwin)
    private let mapAnonymous = MAP_ANON
#else
    private let mapAnonymous = Int32(MAP_ANONYMOUS)
#endif
