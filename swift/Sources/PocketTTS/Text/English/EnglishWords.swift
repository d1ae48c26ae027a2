import Foundation

/// English readings of abbreviations, addresses of the web and symbols between words.
enum EnglishWords {
    /// Addresses of the web and of mail as they are dictated: "example dot com slash page".
    static let links = [link]

    /// Only the letters A to z, single spaces and `. , ; : ! ? ' -`; the rest is left out.
    static func toASCII(_ text: Traced) -> Traced {
        let ascii = applied(asciiRules, to: withoutAccents(text))
        let ends: Set<Unicode.Scalar> = [" ", ",", "-"]
        let start = ascii.scalars.firstIndex { !ends.contains($0) } ?? ascii.count
        let last = ascii.scalars.lastIndex { !ends.contains($0) } ?? start - 1
        return ascii[start..<last + 1]
    }

    /// The runs of letters that `toASCII` leaves out, because they are of another script.
    static func otherScripts(_ text: Traced) -> [String] {
        withoutAccents(text).scalars.split { $0.isASCII || !$0.properties.isAlphabetic }.map { String($0) }
    }

    private static func withoutAccents(_ text: Traced) -> Traced {
        foldTypography(text).replacing { latin[$0] }.replacing { $0.isASCII ? nil : withoutAccents($0) }
    }

    private static func withoutAccents(_ scalar: Unicode.Scalar) -> Scalars {
        String(scalar).decomposedStringWithCompatibilityMapping.unicodeScalars.filter {
            $0.properties.canonicalCombiningClass == .notReordered
        }
    }

    /// Whether `text` ends in what may be an abbreviation, so that its period may end no sentence.
    static func endsInAbbreviation(_ text: ArraySlice<Unicode.Scalar>) -> Bool {
        guard text.last == "." else { return false }
        let start = text.lastIndex { $0.isSpace || $0 == "(" }.map { $0 + 1 } ?? text.startIndex
        let word = String(text[start...])
        let body = word.dropLast()
        return known.contains(word) || body.contains(".") || body.unicodeScalars.count < 2
    }

    private typealias Table = EnglishTables
    private static let titles = dictionary(Table.titles)
    private static let endings = dictionary(Table.endings)
    private static let readings = dictionary(Table.abbreviations)
    private static let signs = dictionary(Table.symbols)
    private static let known: Set<String> = Set(
        (Table.titles + Table.endings + Table.abbreviations + Table.labels).map(\.sign)
            + Table.units.map { $0.sign + "." }
    ).union(EnglishDates.short)
    // A street name stands before "St." in "Main St. Bridge", none in "on St. Mary's Day".
    private static let noStreet = starters.union(["To", "Near", "Saint", "Through", "Via", "Of"])

    private static let domain =
        #"[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|info|io|ai|dev|app|co|uk|us|eu|de|fr|it|es|nl|br)"#
    private static let link = Rule(
        #"(?<![\w.+-])(?:https?://)?(?:[\w.+-]+@\#(domain)|www\.[\w.-]+\w|(?<=://)[\w.-]+\w|\#(domain))\b"#
            + #"(?::\d+)?(?:/[\w./~%+&=?#@:-]*[\w/])?(?:[?#][\w./~%+&=#-]*\w)?"#
    ) { match in
        var address = match.text.scalars[...]
        for prefix in ["https://", "http://"] where address.starts(with: prefix.unicodeScalars) {
            address = address.dropFirst(prefix.count)
            break
        }
        if address.starts(with: "www.".unicodeScalars) { address = "w w w.".scalars + address.dropFirst(4) }
        while address.last == "/" { address.removeLast() }
        return read(marksOf: address)
    }
    private static let linkMarks: [Unicode.Scalar: String] = [
        ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", "?": "question mark",
        "=": "equals", "&": "and", "#": "hash", ":": "colon", "~": "tilde", "+": "plus", "%": "percent",
    ]

    private static func read(marksOf address: ArraySlice<Unicode.Scalar>) -> String {
        var (result, inMarks) = ("", false)
        for scalar in address {
            if let mark = linkMarks[scalar] {
                result += " " + mark
                inMarks = true
            } else {
                if inMarks { result += " " }
                inMarks = false
                result.unicodeScalars.append(scalar)
            }
        }
        return inMarks ? result + " " : result
    }

    /// Titles, streets, initials and Latin in full; a period that ends a sentence stays.
    static let abbreviations: [Rule] = [
        Rule(#"(?<!\w)(\#(oneOf(Table.titles)))(?=\s+[A-Z])"#, title),
        Rule(#"(?<![\w.])(\#(oneOf(Table.endings)))"#) { m in endings[m[1]]! + stop(m) },
        Rule(#"(?<![\w.])(\#(oneOf(Table.abbreviations)))"#) { m in readings[m[1]]! },
        Rule(#"(?<![\w.])(?!(?:[AP]\.M|B\.C|A\.D)\.)(?:[A-Z]\.){2,}"#) { m in
            m.text.filter { $0 != "." }.map(String.init).joined(separator: " ") + stop(m)
        },
        Rule(#"(?<![\w.'’])([A-Z])\.(?=\s+[A-Z])"#, initial),
    ]

    private static func stop(_ match: Match) -> String { match.endsSentence ? "." : "" }

    private static func wordBefore(_ match: Match) -> Scalars {
        let before = match.before(60)
        guard let last = before.last, last.isSpace else { return [] }
        return before.words.last.map(Scalars.init) ?? []
    }

    private static func isOrdinal(_ word: Scalars) -> Bool {
        let end = word.suffix(3)
        return end.count == 3 && end.first?.properties.numericType == .decimal
            && ["st", "nd", "rd", "th"].contains(String(end.dropFirst()))
    }

    private static func title(_ match: Match) -> String {
        let before = wordBefore(match)
        let afterName =
            before.first?.properties.isUppercase == true && before.allSatisfy(\.isLetter)
            && !noStreet.contains(String(before))
        if let ending = endings[match[1]], afterName || isOrdinal(before) { return ending + stop(match) }
        return titles[match[1]]!
    }

    /// A letter of a name loses its period, the last letter of a sentence keeps it.
    private static func initial(_ match: Match) -> String {
        let before = wordBefore(match)
        let rest = match.behind(30)
        let marks: Set<Unicode.Scalar> = [".", ",", ";", ":", "!", "?"]
        guard let word = rest.words.first else { return match.text }
        let start = word.drop { marks.contains($0) }
        let following = start.prefix(upTo: start.lastIndex { !marks.contains($0) }.map { $0 + 1 } ?? start.startIndex)
        let letter = rest.drop { $0.isSpace }
        let isInitial = letter.count > 1 && ("A"..."Z").contains(letter[letter.startIndex])
            && letter[letter.startIndex + 1] == "."
        let withinName = before.isEmpty || before[0].properties.isUppercase || isInitial
        return withinName && !starters.contains(String(following)) ? match[1] : match.text
    }

    /// Signs that stand between or before words: & is "and", @name "at name".
    static let symbols: [Rule] = [
        Rule(#"(?<=\w)\s?/\s?(?=(?:hour|day|week|month|year|person|night)\b)"#) { _ in " per " },
        Rule(#"\b([Aa]nd|[Ee]ither)/or\b"#) { m in m[1] + " or" },
        Rule(#"(?<!\w)#(?=[\p{L}\p{Nl}\p{No}_])"#) { _ in "hashtag " },
        Rule(#"(?<=\b[A-G])#(?!\w)"#) { _ in " sharp" },
        Rule(#"\*+|(?<!\w)_+|_+(?!\w)|^#+\s|`"#, multiline: true) { _ in "" },
        Rule(#"(?<=\w)_(?=\w)"#) { _ in " " },
        Rule(#"\s?(\#(oneOf(Table.symbols)))(\s?)"#) { match in
            let before = match.before(1).last
            let opening: Set<Unicode.Scalar> = ["\n", "(", "[", "\"", "'"]
            let closing: Set<Unicode.Scalar> = [".", ",", ";", ":", "!", "?", ")", "]", "\"", "'", "\n"]
            let lead = before.map { opening.contains($0) } ?? true ? "" : " "
            let tail = match.behind(1).first.map { closing.contains($0) } ?? true ? "" : " "
            return lead + signs[match[1]]! + tail
        },
    ]

    private static let latin: [Unicode.Scalar: Scalars] = [
        "ß": ["s", "s"], "æ": ["a", "e"], "Æ": ["A", "e"], "œ": ["o", "e"], "Œ": ["O", "e"],
        "ø": ["o"], "Ø": ["O"], "ł": ["l"], "Ł": ["L"], "đ": ["d"], "Đ": ["D"], "ð": ["d"],
        "Ð": ["D"], "þ": ["t", "h"], "Þ": ["T", "h"], "ı": ["i"],
    ]

    private static let asciiRules: [Rule] = [
        Rule(#"[()\[\]{}|•·]|\s-+\s|--+"#) { _ in "," },
        Rule(#"[^A-Za-z\s.,;:!?'-]"#) { _ in " " },
        Rule(#"\s+"#) { _ in " " },
        Rule(#"\s+(?=[.,;:!?])"#) { _ in "" },
        Rule(#"(?:(?<=[.;:!?])|^),+|,+(?=[.;:!?])|,+(?=,)|,\s*\z"#) { _ in "" },
        Rule(#",(?=\w)"#) { _ in ", " },
    ]
}
