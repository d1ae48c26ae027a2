/// Numbers, money, dates, units and abbreviations as they are read aloud in English. What has
/// nothing to expand is unchanged.
///
/// `asciiOnly` also leaves out whatever is neither one of the letters A to z, a space, nor one of
/// `. , ; : ! ? ' -`: for models whose vocabulary has nothing else.
func readEnglish(_ text: Scalars, asciiOnly: Bool) -> Scalars {
    let links = EnglishWords.readLinks(String(text))
    let numbers = EnglishNumbers.read(EnglishWords.expandAbbreviations(links))
    let words = EnglishWords.readSymbols(numbers)
    return (asciiOnly ? EnglishWords.toASCII(words) : words).scalars
}
