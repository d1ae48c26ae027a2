/// Text as code points. Swift's own characters are graphemes, which join what the model's rules
/// look at one by one, and its strings are equal where their code points are not.
typealias Scalars = [Unicode.Scalar]

extension Unicode.Scalar {
    /// White space as Unicode and Python's `str.isspace` have it.
    var isSpace: Bool {
        switch value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F,
            0x205F, 0x3000:
            return true
        default: return false
        }
    }

    /// A digit, superscripts included (Python's `str.isdigit`).
    var isDigit: Bool {
        let type = properties.numericType
        return type == .decimal || type == .digit
    }

    var isLetter: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            return true
        default: return false
        }
    }

    var isLetterOrNumber: Bool { isLetter || properties.numericType != nil }
}

extension String {
    init(_ scalars: some Sequence<Unicode.Scalar>) {
        var view = UnicodeScalarView()
        view.append(contentsOf: scalars)
        self.init(view)
    }

    var scalars: Scalars { Scalars(unicodeScalars) }
}

extension BidirectionalCollection where Element == Unicode.Scalar {
    /// Without white space at both ends.
    var stripped: SubSequence {
        guard let start = firstIndex(where: { !$0.isSpace }), let end = lastIndex(where: { !$0.isSpace })
        else { return self[startIndex..<startIndex] }
        return self[start...end]
    }
}

extension Collection where Element == Unicode.Scalar {
    /// What stands between white space.
    var words: [SubSequence] { split(whereSeparator: \.isSpace) }
}
