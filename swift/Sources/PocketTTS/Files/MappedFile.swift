import Foundation

/// A file in memory without a copy of it.
final class MappedFile: @unchecked Sendable {
    let path: String
    let bytes: UnsafeRawBufferPointer

    /// Throws `TTSError.folder` where the file cannot be opened or is empty.
    init(_ path: String) throws {
        self.path = path
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else {
            throw TTSError.folder("\(path) cannot be opened: \(String(cString: strerror(errno))).")
        }
        defer { close(descriptor) }
        var state = stat()
        guard fstat(descriptor, &state) == 0, state.st_size > 0 else {
            throw TTSError.folder("\(path) is empty. Copy the model folder again.")
        }
        let size = Int(state.st_size)
        guard let address = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0),
            address != MAP_FAILED
        else {
            throw TTSError.folder("\(path) cannot be mapped: \(String(cString: strerror(errno))).")
        }
        bytes = UnsafeRawBufferPointer(start: address, count: size)
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress!), bytes.count) }

    /// Give back the memory of what was read; it comes back by itself where it is read again.
    func releasePages() {
        madvise(UnsafeMutableRawPointer(mutating: bytes.baseAddress!), bytes.count, MADV_DONTNEED)
    }
}

/// A little-endian number at a place that need not be aligned.
extension UnsafeRawBufferPointer {
    func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number {
        Number(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}
