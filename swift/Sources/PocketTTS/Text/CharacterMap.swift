/// SentencePiece's precompiled character map: what each stretch of text is replaced by.
///
/// A double-array trie (Darts) from stretches to places in a table of replacements, both where they
/// lie in the mapped file.
struct CharacterMap: @unchecked Sendable {
    private let units: UnsafeRawBufferPointer
    private let replacements: UnsafeRawBufferPointer

    /// `bytes` is the map: the trie's size (uint32), the trie, the replacements, each ended by 0.
    /// Nil for bytes that cannot be one.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 4 else { return nil }
        let size = Int(bytes.number(UInt32.self, at: 0))
        guard size > 0, size % 4 == 0, size <= bytes.count - 4 else { return nil }
        units = UnsafeRawBufferPointer(rebasing: bytes[4..<4 + size])
        replacements = UnsafeRawBufferPointer(rebasing: bytes[(4 + size)...])
    }

    /// The longest stretch in the map that `text` begins with at `start`: its length, and what
    /// replaces it.
    func longest(
        _ text: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> (length: Int, replacement: UnsafeRawBufferPointer)? {
        var found: (length: Int, value: Int)?
        guard var place = unit(0).map(offset) else { return nil }
        for i in start..<text.count {
            place ^= Int(text[i])
            guard let unit = unit(place), unit & 0x8000_00FF == UInt32(text[i]) else { break }
            place ^= offset(unit)
            guard unit >> 8 & 1 == 1, let leaf = self.unit(place) else { continue }
            found = (i + 1 - start, Int(leaf & 0x7FFF_FFFF))
        }
        guard let found, found.value < replacements.count else { return nil }
        let rest = replacements[found.value...]
        return (found.length, UnsafeRawBufferPointer(rebasing: rest.prefix { $0 != 0 }))
    }

    private func unit(_ index: Int) -> UInt32? {
        4 * index + 4 <= units.count ? units.number(UInt32.self, at: 4 * index) : nil
    }

    private func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & (1 << 9)) >> 6)) }
}
