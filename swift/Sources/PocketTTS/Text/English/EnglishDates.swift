/// English readings of dates, times and years.
enum EnglishDates {
    private static let months = EnglishTables.months
    private static let month =
        "(?<month>" + months.joined(separator: "|")
        + "|(?:" + months.map { $0.prefix(3) }.joined(separator: "|") + #"|Sept)\b\.?)"#
    private static let day = #"(?<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?(?![\w:/%]|[.,]\d)"#
    private static let yearPattern = #"(?<year>1[0-9]\d\d|20\d\d)(?![\w:/%]|[.,]\d)"#
    private static let half = #"(?<half>[ap])(?:\.\s?m\.|m\b)"#

    static let dates: [Rule] = [
        Rule(#"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?:(?<time>T(?=\d\d:))|(?![\w-]))"#) { m in
            let date = spoken(number(m[3]), number(m[2]), m[1])
            return date.map { $0 + (m["time"].isEmpty ? "" : " at ") } ?? m.text
        },
        Rule(#"(?<![\w/])(\d{1,2})/(\d{1,2})/(\d{4}|\d\d)(?![\w/])"#) { m in
            let (first, second) = (number(m[1]), number(m[2]))
            let (month, day) = first <= 12 ? (first, second) : (second, first)
            return spoken(day, month, m[3]) ?? m.text
        },
        Rule(#"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\w|\.\d)"#) { m in
            spoken(number(m[1]), number(m[2]), m[3]) ?? m.text
        },
        Rule(#"\b\#(month)\s\#(day)(?:,?\s\#(yearPattern))?"#) { m in
            let tail = m["year"].isEmpty ? "" : ", " + year(m["year"])
            return "\(named(m)) \(NumberWords.ordinal(number(m["day"])))\(tail)"
        },
        Rule(#"(?<the>\b[Tt]he\s)?(?<![\w.,-])\#(day)\s\#(month)(?!\w)(?:,?\s\#(yearPattern))?"#) { m in
            let the = m["the"].isEmpty ? "the " : m["the"]
            let tail = m["year"].isEmpty ? "" : " " + year(m["year"])
            return "\(the)\(NumberWords.ordinal(number(m["day"]))) of \(named(m))\(tail)"
        },
        Rule(#"\b\#(month),?\s\#(yearPattern)"#) { m in "\(named(m)) \(year(m["year"]))" },
        Rule(
            #"(?<![\w:.])(?<hour>1?\d|2[0-4]|0\d):(?<minute>[0-5]\d)(?::(?<second>[0-5]\d))?"#
                + #"(?:\s?\#(half)|(?![\w:]))"#,
            ignoringCase: true, clock),
        Rule(#"(?<![\w:.,])(?<hour>1[0-2]|0?\d)\s?\#(half)"#, ignoringCase: true) { m in
            NumberWords.cardinal(number(m["hour"])) + halfOfDay(m)
        },
        Rule(#"(?<![\w.,'’])['’]?(?<digits>1[1-9]\d0|20\d0|[2-9]0)['’]?s\b"#) { m in
            let digits = m["digits"]
            let words = digits.unicodeScalars.count == 4 ? year(digits) : NumberWords.cardinal(digits)
            return words.hasSuffix("y") ? words.dropLast() + "ies" : words + "s"
        },
        Rule(#"(?<![\w.,])(\d{1,4})\s(BCE|CE|BC|AD|B\.C\.|A\.D\.)(?!\w)"#) { m in
            let era = m[2].filter { $0 != "." }.map(String.init).joined(separator: " ")
            return "\(year(m[1])) \(era)"
        },
    ]

    /// After everything else has taken its numbers: 1984 is a year where nothing says otherwise.
    static let years: [Rule] = [
        Rule(#"(?<=\b[Ii]n )(?<first>10\d\d)(?<last>)(?![\w%]|[.,]\d)"#, span),
        Rule(
            #"(?<![\w.,#/-])(?<first>1[1-9]\d\d|20\d\d)(?:[-–](?<last>\d{4}|\d\d))?(?![\w%/]|[.,-]\d)"#,
            span),
    ]

    /// "Jan.", which ends no sentence.
    static let short = Set(months.map { $0.prefix(3) + "." } + ["Sept."])

    private static func number(_ digits: String) -> Int { NumberWords.number(digits) }
    private static func year(_ digits: String) -> String { NumberWords.year(number(digits)) }

    private static func named(_ match: Match) -> String {
        let start = match["month"].prefix(3)
        return months.first { $0.prefix(3) == start } ?? match["month"]
    }

    private static func spoken(_ day: Int, _ month: Int, _ digits: String) -> String? {
        guard 1...12 ~= month, 1...31 ~= day else { return nil }
        var value = number(digits)
        if digits.unicodeScalars.count == 2 { value += value > 68 ? 1900 : 2000 }  // as POSIX reads them
        return "\(months[month - 1]) \(NumberWords.ordinal(day)), \(NumberWords.year(value))"
    }

    private static func clock(_ match: Match) -> String {
        let (hour, minute, half) = (number(match["hour"]), number(match["minute"]), match["half"])
        var words = NumberWords.cardinal(hour)
        if minute > 0 {
            words += " \(minute < 10 ? "oh " : "")\(NumberWords.cardinal(minute))"
        } else if half.isEmpty {
            words += hour > 12 ? " hundred" : " o'clock"
        }
        if !match["second"].isEmpty {
            let seconds = number(match["second"])
            words += " and \(NumberWords.cardinal(seconds)) second\(seconds == 1 ? "" : "s")"
        }
        return words + (half.isEmpty ? "" : halfOfDay(match))
    }

    private static func halfOfDay(_ match: Match) -> String {
        let stop = match.text.hasSuffix(".") && match.endsSentence
        return " \(match["half"].uppercased()) M\(stop ? "." : "")"
    }

    private static func span(_ match: Match) -> String {
        let (words, last) = (year(match["first"]), match["last"])
        if last.isEmpty { return words }
        return "\(words) to \(last.unicodeScalars.count == 4 ? year(last) : NumberWords.cardinal(last))"
    }
}
