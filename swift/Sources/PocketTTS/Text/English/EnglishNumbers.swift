/// English readings of amounts and codes: money, measures, fractions, versions, telephone numbers.
///
/// A text goes through the rules from the first to the last. Each replaces one way of writing
/// numbers by words, so the order decides what an ambiguous one is: `12:30` is a time, `16:9` a
/// ratio.
enum EnglishNumbers {
    private typealias Table = EnglishTables
    private static let units = dictionary(Table.units)
    private static let currencies = dictionary(Table.currencies)
    private static let scales = dictionary(Table.scales)
    private static let labels = dictionary(Table.labels)
    private static let fractions = dictionary(Table.fractions)
    private static let denominators = Set(Array(2...10) + [12, 16, 20, 32, 64, 100, 1000])
    private static let surfaces = ["²": "square", "2": "square", "³": "cubic", "3": "cubic"]
    private static let superscripts = Array("⁰¹²³⁴⁵⁶⁷⁸⁹".unicodeScalars)

    private static let amount = #"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"#
    private static let sign = #"(?<sign>(?<![\w)])[-−])?"#
    private static let span = #"(?<![\w.,])(?<low>\#(amount))(?:(?:-|\s?–\s?)(?<high>\#(amount)))?"#
    private static let currency = oneOf(Table.currencies)
    private static let scale =
        #"(?:\s?(?<scale>[kKMB]|bn|[mbT]|thousand|million|billion|trillion)(?!\w))?"#
    private static let per = ([oneOf(Table.units)] + Table.per).joined(separator: "|")

    private static let amounts: [Rule] = [
        Rule(
            #"\#(sign)(?<!\w)(?<currency>\#(currency))\s?(?<low>\#(amount))"#
                + #"(?:\s?[-–]\s?(?:\#(currency))?(?<high>\#(amount)))?\#(scale)(?!\d)"#,
            money),
        Rule(#"\#(sign)\#(span)\#(scale)\s?(?<currency>\#(currency))(?!\w)"#, money),
        Rule(#"(?<![\w.])(?<v>[vV])\.?\s?(?<parts>\d+(?:\.\d+)*)(?!\w|\.\d)"#, dotted),
        Rule(#"(?<![\w.])(?<v>)(?<parts>\d+(?:\.\d+){2,})(?!\w|\.\d)"#, dotted),
        Rule(#"(?<![\w.])(?:(\d+)['′])?(\d+)["″](?!\w)"#, inches),
        Rule(#"(?<![\w.])()(\d+(?:\.\d+)?)in(?!\w)"#, inches),
        Rule(
            #"\#(sign)\#(span)[\s-]?(?<unit>\#(oneOf(Table.units)))(?<surface>[²³]|(?<=[mt])[23])?"#
                + #"(?:/(?<per>\#(per)))?(?!\w)(?:\.(?=\s[a-z]))?"#,
            measure),
        Rule(#"\#(sign)\#(span)(?<scale>k|M|B|bn|(?<=\d\d)K)(?!\w)"#) { m in
            "\(spanned(m)) \(scales[m["scale"]]!)"
        },
        Rule(#"(?<![\w.,])(\d+(?:\.\d+)?)((?:\s?x\s?|×)\d+(?:\.\d+)?)+(?!\w)"#) { m in
            m.text.unicodeScalars.split { !isDigitOrPoint($0) }.map { number(String($0)) }
                .joined(separator: " by ")
        },
        Rule(#"(?<=\d)x(?!\w)"#) { _ in " times" },
        Rule(
            #"(?<![\w/.,])(?:(?<whole>\d+)[ -])?(?<top>\d{1,3})/(?<bottom>\d{1,4})(?![\w/])"#,
            fraction),
        Rule(#"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,3}|\d{1,12})(?:st|nd|rd|th)\b"#) { m in
            NumberWords.ordinal(NumberWords.number(m[1].filter { $0 != "," }))
        },
        Rule(#"(?<=\d):(?=\d)"#) { _ in " to " },
        Rule(#"(?<=\d)[eE]([-+]?\d+)(?!\w)"#) { m in " times ten\(power(m))" },
        Rule(#"(?<=[\w)])\^?([⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"#, power),
        Rule(#"(?<=[\w)])\^(-?\d+)"#, power),
    ]

    private static let plain: [Rule] = [
        Rule(#"(?<!\w)(\#(oneOf(Table.labels)))\s?(?=\d|\.\d)"#) { m in labels[m[1]]! + " " },
        Rule(#"(?<=\d) [-−] (?=\d)"#) { _ in " minus " },
        Rule(#"\#(sign)\#(span)(?!\d)"#, spanned),
        Rule(#"\d+"#) { m in NumberWords.cardinal(m.text) },
    ]

    /// All that has digits, superscripts and fractions among them, written out.
    static let rules: [Rule] =
        [
            Rule("[₀-₉]+") { m in  // H₂O
                m.text.unicodeScalars.map { "\($0.value - ("₀" as Unicode.Scalar).value)" }.joined()
            },
            Rule(#"(?:(\d)\s?)?([\#(Table.fractions.map(\.sign).joined())])"#) { m in
                (m[1].isEmpty ? "" : m[1] + " ") + fractions[m[2]]!
            },
            Rule(
                #"(?<![\w.,+-])(?:(?:\+?\d{1,3}[ .-])?(?:\(\d{3}\)\s?|\d{3}[ .-])\d{3}[.-]\d{4}"#
                    + #"|\d{3}-\d{4}|\+\d{1,3}(?:[ .-]\d{2,4}){2,5})(?![\w-]|\.\d)"#,
                phone),
        ] + EnglishDates.dates + amounts + EnglishDates.years
        + [
            // A number that touches a letter is a word of its own: B2B, MP3, 1080p.
            Rule(#"(?<=[\p{L}\p{Nl}\p{No}])(?=\d)|(?<=\d)(?=[\p{L}\p{Nl}\p{No}])"#) { _ in " " }
        ] + plain

    /// Chapter IV, Henry VIII.
    static let romans = [
        Rule(
            #"\b(?:(?<part>\#(Table.parts.joined(separator: "|")))"#
                + #"|(?<king>\#(Table.kings.joined(separator: "|")))(?= [IVXL]{2}| V\b)) "#
                + #"(?<roman>[IVXL]+)\b"#,
            roman)
    ]

    /// 1,984 or 3.14 or .5 in words.
    private static func number(_ digits: String) -> String {
        let parts = digits.filter { $0 != "," }.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let whole = parts[0].isEmpty ? "" : NumberWords.cardinal(String(parts[0]))
        guard parts.count == 2 else { return whole }
        let words = "\(whole) point \(NumberWords.spelled(String(parts[1].filter { $0 != "." })))"
        return whole.isEmpty ? String(words.dropFirst()) : words
    }

    /// The singular or plural of a thing, as the tables have it.
    private static func named(_ forms: [Substring], _ amount: String) -> String {
        forms[amount == "1" ? 0 : 1].replacingUnderscores
    }

    private static func named(_ forms: String, _ amount: String) -> String {
        named(forms.split(separator: " "), amount)
    }

    private static func spanned(_ match: Match) -> String {
        let words = (match["sign"].isEmpty ? "" : "minus ") + number(match["low"])
        return match["high"].isEmpty ? words : "\(words) to \(number(match["high"]))"
    }

    private static func phone(_ match: Match) -> String {
        let groups = match.text.unicodeScalars.split { $0.properties.numericType != .decimal }
        return (match.text.hasPrefix("+") ? "plus " : "")
            + groups.map { NumberWords.spelled(String($0)) }.joined(separator: ", ")
    }

    private static func money(_ match: Match) -> String {
        let forms = currencies[match["currency"]]!.split(separator: " ")
        let (low, high) = (match["low"], match["high"])
        if !match["scale"].isEmpty {
            let scale = scales[match["scale"]] ?? match["scale"]
            return "\(spanned(match)) \(scale) \(named(forms, ""))"
        }
        let parts = low.filter { $0 != "," }.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let hundredths = parts.count == 2 ? String(parts[1]) : ""
        guard high.isEmpty, hundredths.unicodeScalars.count == 2, forms.count >= 4 else {
            return "\(spanned(match)) \(named(forms, high.isEmpty ? low : high))"
        }
        let whole = String(NumberWords.number(String(parts[0])))
        let cents = String(NumberWords.number(hundredths))
        var spoken: [String] = []
        if whole != "0" || cents == "0" {
            spoken.append("\(NumberWords.cardinal(whole)) \(named(forms, whole))")
        }
        if cents != "0" {
            spoken.append("\(NumberWords.cardinal(cents)) \(named(Array(forms.dropFirst(2)), cents))")
        }
        return (match["sign"].isEmpty ? "" : "minus ") + spoken.joined(separator: " and ")
    }

    private static func measure(_ match: Match) -> String {
        let amount = match["high"].isEmpty ? match["low"] : match["high"]
        var words = named(units[match["unit"]]!, amount)
        if let surface = surfaces[match["surface"]] { words = "\(surface) \(words)" }
        if !match["per"].isEmpty {
            words += " per " + named(units[match["per"]] ?? match["per"], "1")
        }
        return "\(spanned(match)) \(words)"
    }

    private static func inches(_ match: Match) -> String {
        let feet = match[1].isEmpty ? "" : "\(number(match[1])) \(named("foot feet", match[1])) "
        return "\(feet)\(number(match[2])) \(named("inch inches", match[2]))"
    }

    private static func fraction(_ match: Match) -> String {
        let (whole, top, bottom) = (
            match["whole"], NumberWords.number(match["top"]), NumberWords.number(match["bottom"])
        )
        if top == bottom || (top, bottom) == (24, 7) || (top, bottom) == (9, 11) {  // no fractions
            return "\(NumberWords.cardinal(top)) \(NumberWords.cardinal(bottom))"
        }
        guard denominators.contains(bottom) else {
            let over = "\(number(match["top"])) over \(number(match["bottom"]))"
            return whole.isEmpty ? over : "\(number(whole)) \(over)"
        }
        let ordinal = NumberWords.ordinal(bottom)
        let one =
            bottom == 2 ? "half" : bottom == 4 ? "quarter" : ordinal.hasPrefix("one ") ? String(ordinal.dropFirst(4)) : ordinal
        let many = bottom == 2 ? "halves" : one + "s"
        let part = "\(NumberWords.cardinal(top)) \(top == 1 ? one : many)"
        if whole.isEmpty { return part }
        let article = one.hasPrefix("e") ? "an" : "a"
        return "\(number(whole)) and \(top == 1 ? "\(article) \(one)" : part)"
    }

    private static func dotted(_ match: Match) -> String {
        let parts = match["parts"].split(separator: ".")
        let words = parts.map { number(String($0)) }.joined(separator: parts.count == 4 ? " dot " : " point ")
        return match["v"].isEmpty ? words : "version \(words)"
    }

    private static func power(_ match: Match) -> String {
        let exponent = match[1].unicodeScalars.map { scalar -> String in
            if let digit = superscripts.firstIndex(of: scalar) { return String(digit) }
            return scalar == "⁻" ? "-" : scalar == "+" ? "" : String(scalar)
        }.joined()
        if exponent == "2" || exponent == "3" { return exponent == "2" ? " squared" : " cubed" }
        let digits = exponent.drop { $0 == "-" }
        return " to the power of \(exponent.hasPrefix("-") ? "minus " : "")\(NumberWords.cardinal(String(digits)))"
    }

    private static func roman(_ match: Match) -> String {
        let values = match["roman"].map { ["I": 1, "V": 5, "X": 10, "L": 50][$0]! }
        let total = values.indices.reduce(0) { sum, i in
            sum + (values[i] < values[i...].max()! ? -values[i] : values[i])
        }
        if !match["part"].isEmpty { return "\(match["part"]) \(NumberWords.cardinal(String(total)))" }
        return "\(match["king"]) the \(NumberWords.ordinal(total))"
    }

    private static func isDigitOrPoint(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "." || scalar.properties.numericType == .decimal
    }
}

extension Substring {
    fileprivate var replacingUnderscores: String { String(map { $0 == "_" ? " " : $0 }) }
}
