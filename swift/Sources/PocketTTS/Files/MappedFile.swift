import Foundation

/// A file in memory without a copy of it.
final class MappedFile: @unchecked Sendable {
    let path: String
    let bytes: UnsafeRawBufferPointer
    private var written: [Int] = []  // places of pages that differ from the file

    /// Throws `TTSError.folder` where the file cannot be opened or is empty. What is written to a
    /// writable one stays in this memory.
    init(_ path: String, writable: Bool = false) throws {
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
        let protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
        guard let address = mmap(nil, size, protection, MAP_PRIVATE, descriptor, 0),
            address != MAP_FAILED
        else {
            throw TTSError.folder("\(path) cannot be mapped: \(String(cString: strerror(errno))).")
        }
        bytes = UnsafeRawBufferPointer(start: address, count: size)
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress!), bytes.count) }

    /// Write a number, little-endian, before others use the file. It must be writable.
    func write(_ number: UInt32, at place: Int) throws {
        guard 0 <= place, place + 4 <= bytes.count else {
            throw TTSError.folder("\(path) is damaged. Copy the model folder again.")
        }
        UnsafeMutableRawPointer(mutating: bytes.baseAddress!)
            .storeBytes(of: number.littleEndian, toByteOffset: place, as: UInt32.self)
        written += [place, place + 3]
    }

    /// Give back the memory of what was read; it comes back by itself where it is read again. What
    /// was written stays.
    func releasePages() {
        let page = Int(getpagesize())
        let address = UnsafeMutableRawPointer(mutating: bytes.baseAddress!)
        var begin = 0
        for kept in Set(written.map { $0 / page }).sorted() + [(bytes.count + page - 1) / page] {
            let size = min(kept * page, bytes.count) - begin
            if size > 0 { madvise(address + begin, size, MADV_DONTNEED) }
            begin = (kept + 1) * page
        }
    }
}

/// A little-endian number at a place that need not be aligned.
extension UnsafeRawBufferPointer {
    func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number {
        Number(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}
