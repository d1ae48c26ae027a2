/// English numbers in words.
enum NumberWords {
    /// Decimal digits as a number: 21 is "twenty-one", 007 "zero zero seven". Numbers of more than
    /// 15 digits are codes rather than quantities, and are read digit by digit.
    static func cardinal(_ digits: String) -> String {
        let scalars = digits.scalars
        if scalars.count > 15 || (scalars.count > 1 && value(scalars[0]) == 0) { return spelled(digits) }
        return cardinal(number(digits))
    }

    static func cardinal(_ number: Int) -> String {
        switch number {
        case ..<20: return small[number]
        case ..<100:
            let ten = tens[number / 10]
            return number % 10 == 0 ? ten : "\(ten)-\(small[number % 10])"
        case ..<1000: return joined("\(small[number / 100]) hundred", number % 100)
        default:
            var (scale, size) = (0, 1000)
            while scale + 1 < scales.count && number >= 1000 * size { (scale, size) = (scale + 1, 1000 * size) }
            return joined("\(cardinal(number / size)) \(scales[scale])", number % size)
        }
    }

    /// 21 is "twenty-first".
    static func ordinal(_ number: Int) -> String {
        let words = cardinal(number)
        let start = words.lastIndex { $0 == " " || $0 == "-" }.map { words.index(after: $0) }
        let last = String(words[(start ?? words.startIndex)...])
        let ending = ordinals[last] ?? (last.hasSuffix("y") ? last.dropLast() + "ieth" : last + "th")
        return words.dropLast(last.count) + ending
    }

    /// Each digit as a number: 192 is "one nine two".
    static func spelled(_ digits: String) -> String {
        digits.unicodeScalars.map { small[value($0)] }.joined(separator: " ")
    }

    /// 1984 is "nineteen eighty-four".
    static func year(_ number: Int) -> String {
        guard 1000..<2100 ~= number, number / 10 != 100, number / 10 != 200 else {
            return cardinal(String(number))
        }
        let (century, rest) = (cardinal(number / 100), number % 100)
        if rest == 0 { return century + " hundred" }
        return "\(century) \(rest < 10 ? "oh " : "")\(cardinal(rest))"
    }

    /// The number that decimal digits of any script stand for.
    static func number(_ digits: String) -> Int {
        digits.unicodeScalars.reduce(0) { $0 &* 10 &+ value($1) }
    }

    private static func value(_ digit: Unicode.Scalar) -> Int {
        min(max(Int(digit.properties.numericValue ?? 0), 0), 9)
    }

    private static func joined(_ words: String, _ rest: Int) -> String {
        rest == 0 ? words : "\(words) \(cardinal(rest))"
    }

    private static let small =
        ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        + "fifteen sixteen seventeen eighteen nineteen").split(separator: " ").map(String.init)
    private static let tens =
        "- - twenty thirty forty fifty sixty seventy eighty ninety".split(separator: " ").map(String.init)
    private static let scales = ["thousand", "million", "billion", "trillion"]
    private static let ordinals = [
        "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
        "nine": "ninth", "twelve": "twelfth",
    ]
}
