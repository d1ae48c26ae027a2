/// English names of what is written by signs: currencies, units, abbreviations, symbols.
///
/// Several words in one field are joined by `_`; fields are separated by spaces.
enum EnglishTables {
    /// In order.
    static let months = words(
        "January February March April May June July August September October November "
            + "December")

    /// Singular, plural, singular and plural of the hundredth where there is one.
    static let currencies: [(sign: String, words: String)] = [
        ("$", "dollar dollars cent cents"), ("US$", "dollar dollars cent cents"),
        ("USD", "dollar dollars cent cents"), ("C$", "Canadian_dollar Canadian_dollars cent cents"),
        ("CAD", "Canadian_dollar Canadian_dollars cent cents"),
        ("A$", "Australian_dollar Australian_dollars cent cents"),
        ("AUD", "Australian_dollar Australian_dollars cent cents"), ("€", "euro euros cent cents"),
        ("EUR", "euro euros cent cents"), ("£", "pound pounds penny pence"),
        ("GBP", "pound pounds penny pence"), ("¥", "yen yen"), ("JPY", "yen yen"),
        ("CNY", "yuan yuan"), ("₹", "rupee rupees paisa paise"),
        ("INR", "rupee rupees paisa paise"), ("₩", "won won"), ("₽", "ruble rubles kopeck kopecks"),
        ("CHF", "Swiss_franc Swiss_francs centime centimes"),
    ]

    /// Behind an amount.
    static let scales: [(sign: String, words: String)] = [
        ("k", "thousand"), ("K", "thousand"), ("m", "million"), ("M", "million"), ("bn", "billion"),
        ("b", "billion"), ("B", "billion"), ("T", "trillion"),
    ]

    /// Singular and plural.
    static let units: [(sign: String, words: String)] = [
        ("km", "kilometer kilometers"), ("cm", "centimeter centimeters"),
        ("mm", "millimeter millimeters"), ("µm", "micrometer micrometers"),
        ("μm", "micrometer micrometers"), ("nm", "nanometer nanometers"), ("m", "meter meters"),
        ("mi", "mile miles"), ("ft", "foot feet"), ("yd", "yard yards"),
        ("kg", "kilogram kilograms"), ("mg", "milligram milligrams"), ("g", "gram grams"),
        ("lb", "pound pounds"), ("lbs", "pound pounds"), ("oz", "ounce ounces"),
        ("tsp", "teaspoon teaspoons"), ("tbsp", "tablespoon tablespoons"),
        ("gal", "gallon gallons"), ("l", "liter liters"), ("L", "liter liters"),
        ("ml", "milliliter milliliters"), ("mL", "milliliter milliliters"),
        ("ms", "millisecond milliseconds"), ("µs", "microsecond microseconds"),
        ("μs", "microsecond microseconds"), ("s", "second seconds"), ("sec", "second seconds"),
        ("min", "minute minutes"), ("mins", "minute minutes"), ("h", "hour hours"),
        ("hr", "hour hours"), ("hrs", "hour hours"), ("Hz", "hertz hertz"),
        ("kHz", "kilohertz kilohertz"), ("MHz", "megahertz megahertz"),
        ("GHz", "gigahertz gigahertz"), ("kB", "kilobyte kilobytes"), ("KB", "kilobyte kilobytes"),
        ("MB", "megabyte megabytes"), ("GB", "gigabyte gigabytes"), ("TB", "terabyte terabytes"),
        ("V", "volt volts"), ("W", "watt watts"), ("kW", "kilowatt kilowatts"),
        ("kWh", "kilowatt_hour kilowatt_hours"), ("km/h", "kilometer_per_hour kilometers_per_hour"),
        ("kph", "kilometer_per_hour kilometers_per_hour"), ("mph", "mile_per_hour miles_per_hour"),
        ("Mbps", "megabit_per_second megabits_per_second"),
        ("Gbps", "gigabit_per_second gigabits_per_second"),
        ("fps", "frame_per_second frames_per_second"),
        ("rpm", "revolution_per_minute revolutions_per_minute"), ("dB", "decibel decibels"),
        ("px", "pixel pixels"), ("°C", "degree_Celsius degrees_Celsius"),
        ("°F", "degree_Fahrenheit degrees_Fahrenheit"), ("°", "degree degrees"),
        ("¢", "cent cents"), ("%", "percent percent"), ("‰", "per_mille per_mille"),
    ]

    /// Behind a slash, besides the units.
    static let per = words(
        "hour day week month year person night second minute")

    /// Characters of their own.
    static let fractions: [(sign: String, words: String)] = [
        ("½", "1/2"), ("⅓", "1/3"), ("⅔", "2/3"), ("¼", "1/4"), ("¾", "3/4"), ("⅕", "1/5"),
        ("⅖", "2/5"), ("⅗", "3/5"), ("⅘", "4/5"), ("⅙", "1/6"), ("⅛", "1/8"), ("⅜", "3/8"),
        ("⅝", "5/8"), ("⅞", "7/8"),
    ]

    /// In front of a number.
    static let labels: [(sign: String, words: String)] = [
        ("No.", "number"), ("no.", "number"), ("Nos.", "numbers"), ("#", "number"), ("p.", "page"),
        ("pp.", "pages"), ("vol.", "volume"), ("Vol.", "Volume"), ("ch.", "chapter"),
        ("Ch.", "Chapter"), ("fig.", "figure"), ("Fig.", "Figure"), ("sec.", "section"),
        ("Sec.", "Section"), ("ext.", "extension"), ("§", "section"), ("~", "about"),
        ("≈", "about"), ("±", "plus or minus"), ("<", "less than"), (">", "greater than"),
        ("≤", "at most"), ("≥", "at least"), ("+", "plus"),
    ]

    /// In front of a name.
    static let titles: [(sign: String, words: String)] = [
        ("Mr.", "Mister"), ("Mrs.", "Missus"), ("Ms.", "Miz"), ("Dr.", "Doctor"),
        ("Prof.", "Professor"), ("Gen.", "General"), ("Col.", "Colonel"), ("Capt.", "Captain"),
        ("Lt.", "Lieutenant"), ("Sgt.", "Sergeant"), ("Rev.", "Reverend"), ("Hon.", "Honorable"),
        ("Gov.", "Governor"), ("Sen.", "Senator"), ("Rep.", "Representative"),
        ("Pres.", "President"), ("St.", "Saint"), ("Mt.", "Mount"), ("Ft.", "Fort"),
    ]

    /// Behind a name or another word, where a period may also end the sentence.
    static let endings: [(sign: String, words: String)] = [
        ("St.", "Street"), ("Ave.", "Avenue"), ("Rd.", "Road"), ("Blvd.", "Boulevard"),
        ("Dr.", "Drive"), ("Ln.", "Lane"), ("Hwy.", "Highway"), ("Jr.", "Junior"),
        ("Sr.", "Senior"), ("Inc.", "Incorporated"), ("Ltd.", "Limited"), ("Corp.", "Corporation"),
        ("Co.", "Company"), ("Bros.", "Brothers"), ("etc.", "et cetera"), ("Ph.D.", "P H D"),
        ("a.k.a.", "also known as"),
    ]

    /// Anywhere; the period never ends a sentence.
    static let abbreviations: [(sign: String, words: String)] = [
        ("e.g.", "for example"), ("i.e.", "that is"), ("vs.", "versus"),
        ("approx.", "approximately"), ("dept.", "department"), ("Dept.", "Department"),
        ("est.", "established"), ("max.", "maximum"), ("govt.", "government"), ("w/o", "without"),
        ("w/", "with "),
    ]

    /// Names that Roman numbers follow.
    static let kings = words(
        "Alexander Benedict Catherine Charles Edward Elizabeth Francis Frederick George "
            + "Gregory Henry Ivan James John Leo Louis Napoleon Nicholas Paul Philip Pius "
            + "Richard William")

    /// Words that Roman numbers follow.
    static let parts = words(
        "Act Appendix Article Book Chapter Part Phase Scene Section Stage Title Type "
            + "Volume War")

    /// Between or before words.
    static let symbols: [(sign: String, words: String)] = [
        ("&", "and"), ("@", "at"), ("#", "hash"), ("%", "percent"), ("+", "plus"), ("=", "equals"),
        ("/", "slash"), ("\\", "backslash"), ("<", "less than"), (">", "greater than"),
        ("°", "degrees"), ("×", "times"), ("÷", "divided by"), ("≠", "is not equal to"),
        ("≤", "at most"), ("≥", "at least"), ("≈", "about"), ("±", "plus or minus"),
        ("√", "square root of"), ("∞", "infinity"), ("π", "pi"), ("µ", "micro"), ("€", "euros"),
        ("$", "dollars"), ("£", "pounds"), ("¢", "cents"), ("§", "section"), ("©", "copyright"),
        ("®", "registered"), ("™", "trademark"), ("→", "to"),
    ]

    /// Words that begin a sentence more often than they follow an abbreviation within one.
    static let starters = words(
        "A An And As At But By For From He Her His How However I If In It Its My No Now "
            + "On Our She So That The Their Then There These They This Those We What When Where "
            + "Who Why Yes You")

    private static func words(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }
}
