/// Numbers, money, dates, units and abbreviations as they are read aloud in English. What has
/// nothing to expand is unchanged.
///
/// `asciiOnly` also leaves out whatever is neither one of the letters A to z, a space, nor one of
/// `. , ; : ! ? ' -`: for models whose vocabulary has nothing else.
func readEnglish(_ text: Traced, asciiOnly: Bool) -> Traced {
    // Their expressions take 25 ms and a megabyte when they are first used.
    let hasNumbers = text.scalars.contains { $0.properties.numericType != nil }
    let numbers = hasNumbers ? EnglishNumbers.rules : []
    let rules =
        EnglishWords.links + EnglishWords.abbreviations + numbers + EnglishNumbers.romans + EnglishWords.symbols
    let read = applied(rules, to: text)
    return asciiOnly ? EnglishWords.toASCII(read) : read
}
