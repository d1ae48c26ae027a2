import Foundation

/// A text with what regular expressions need, which count in UTF-16.
struct Searched {
    let text: Traced
    let source: NSString
    private let places: [Int]?  // of each unit of UTF-16, in code points; nil where they are the same

    init(_ text: Traced) {
        self.text = text
        source = String(text.scalars) as NSString
        guard source.length != text.count else {
            places = nil
            return
        }
        let ofUnits = text.scalars.enumerated().flatMap { i, scalar in
            repeatElement(i, count: scalar.value > 0xFFFF ? 2 : 1)
        }
        places = ofUnits + [text.count]
    }

    func matches(_ pattern: NSRegularExpression) -> [NSTextCheckingResult] {
        pattern.matches(in: source as String, range: NSRange(location: 0, length: source.length))
    }

    /// A range of UTF-16 as one of code points.
    func range(_ range: NSRange) -> Range<Int> {
        guard let places else { return range.lowerBound..<range.upperBound }
        return places[range.lowerBound]..<places[range.upperBound]
    }
}
