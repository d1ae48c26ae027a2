"""Names of numbers' companions in French, German, Italian, Portuguese, Spanish and Dutch.

Several words in one field are joined by `_`; fields are separated by spaces.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """What the rules need to know about one language."""

    code: str
    minus: str
    point: str
    to: str
    cents: str  # between the whole and the hundredths of an amount of money; may be empty
    of: str  # between a million and its currency
    hour: str  # "{hour}" or "{hour}" and "{minute}" of a time of day; the full hour first
    half_hour: str
    day: str  # "{day}", "{month}", "{year}"
    scales: str  # thousand, million ...: what may stand between a number and its currency
    ones: Mapping[str, str]  # endings of a number before a noun, masculine
    feminine: Mapping[str, str]  # endings of a number before a feminine noun
    months: str
    currencies: Mapping[str, str]  # sign or code: singular, plural, of the hundredth too
    units: Mapping[str, str]  # sign: singular, plural
    fractions: Mapping[str, str]
    abbreviations: Mapping[str, str]
    symbols: Mapping[str, str]


def _table(entries: str) -> dict[str, str]:
    """`"km kilomètre kilomètres, m …"`: the sign, then its names."""
    return dict(entry.split(" ", 1) for entry in entries.split(", "))


FRENCH = Language(
    code="fr",
    minus="moins",
    point="virgule",
    to="à",
    cents="",
    of="de",
    hour="{hour} heures",
    half_hour="{hour} heures {minute}",
    day="{day} {month} {year}",
    scales="mille|millions?|milliards?",
    ones={},
    feminine={"un": "une"},
    months="janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    currencies=_table(
        "€ euro euros centime centimes, EUR euro euros centime centimes, $ dollar dollars cent "
        "cents, USD dollar dollars cent cents, £ livre livres penny pence, CHF franc_suisse "
        "francs_suisses centime centimes, ¥ yen yens"
    ),
    units=_table(
        "% pour_cent pour_cent, km kilomètre kilomètres, m mètre mètres, cm centimètre "
        "centimètres, mm millimètre millimètres, kg kilogramme kilogrammes, g gramme grammes, l "
        "litre litres, km/h kilomètre_heure kilomètres_heure, °C degré_Celsius degrés_Celsius, "
        "° degré degrés"
    ),
    fractions={"1/2": "un demi", "1/3": "un tiers", "2/3": "deux tiers"}
    | {"1/4": "un quart", "3/4": "trois quarts"},
    abbreviations={
        "M.": "Monsieur",
        "Mme": "Madame",
        "Mlle": "Mademoiselle",
        "Dr": "docteur",
        "St": "Saint",
        "Ste": "Sainte",
        "etc.": "et cetera",
        "p. ex.": "par exemple",
    },
    symbols={"&": "et", "@": "arobase", "+": "plus", "=": "égale", "°": "degrés"},
)

GERMAN = Language(
    code="de",
    minus="minus",
    point="Komma",
    to="bis",
    cents="",
    of="",
    hour="{hour} Uhr",
    half_hour="{hour} Uhr {minute}",
    day="{day} {month} {year}",
    scales="Tausend|Million(?:en)?|Milliarden?|Mio\\.|Mrd\\.",
    ones={"eins": "ein"},
    feminine={"eins": "eine"},
    months="Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    currencies=_table(
        "€ Euro Euro Cent Cent, EUR Euro Euro Cent Cent, $ Dollar Dollar Cent Cent, USD Dollar "
        "Dollar Cent Cent, £ Pfund Pfund Penny Pence, CHF Franken Franken Rappen Rappen, ¥ Yen "
        "Yen"
    ),
    units=_table(
        "% Prozent Prozent, km Kilometer Kilometer, m Meter Meter, cm Zentimeter Zentimeter, mm "
        "Millimeter Millimeter, kg Kilogramm Kilogramm, g Gramm Gramm, l Liter Liter, km/h "
        "Kilometer_pro_Stunde Kilometer_pro_Stunde, °C Grad_Celsius Grad_Celsius, ° Grad Grad"
    ),
    fractions={"1/2": "ein halb", "1/3": "ein Drittel", "2/3": "zwei Drittel"}
    | {"1/4": "ein Viertel", "3/4": "drei Viertel"},
    abbreviations={
        "z. B.": "zum Beispiel",
        "z.B.": "zum Beispiel",
        "d. h.": "das heißt",
        "d.h.": "das heißt",
        "u. a.": "unter anderem",
        "bzw.": "beziehungsweise",
        "usw.": "und so weiter",
        "ca.": "circa",
        "Nr.": "Nummer",
        "Dr.": "Doktor",
        "Prof.": "Professor",
        "Str.": "Straße",
        "Mio.": "Millionen",
        "Mrd.": "Milliarden",
    },
    symbols={"&": "und", "@": "at", "+": "plus", "=": "gleich", "°": "Grad"},
)

ITALIAN = Language(
    code="it",
    minus="meno",
    point="virgola",
    to="a",
    cents="e",
    of="di",
    hour="{hour} in punto",
    half_hour="{hour} e {minute}",
    day="{day} {month} {year}",
    scales="mila|milion[ei]|miliard[oi]",
    ones={"uno": "un"},
    feminine={"uno": "una"},
    months="gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
    "dicembre",
    currencies=_table(
        "€ euro euro centesimo centesimi, EUR euro euro centesimo centesimi, $ dollaro dollari "
        "centesimo centesimi, USD dollaro dollari centesimo centesimi, £ sterlina sterline "
        "penny pence, CHF franco_svizzero franchi_svizzeri centesimo centesimi, ¥ yen yen"
    ),
    units=_table(
        "% per_cento per_cento, km chilometro chilometri, m metro metri, cm centimetro "
        "centimetri, mm millimetro millimetri, kg chilogrammo chilogrammi, g grammo grammi, l "
        "litro litri, km/h chilometro_orario chilometri_orari, °C grado_Celsius gradi_Celsius, "
        "° grado gradi"
    ),
    fractions={"1/2": "un mezzo", "1/3": "un terzo", "2/3": "due terzi"}
    | {"1/4": "un quarto", "3/4": "tre quarti"},
    abbreviations={
        "sig.": "signor",
        "Sig.": "Signor",
        "sig.ra": "signora",
        "Sig.ra": "Signora",
        "dott.": "dottor",
        "Dott.": "Dottor",
        "prof.": "professor",
        "Prof.": "Professor",
        "ecc.": "eccetera",
        "per es.": "per esempio",
    },
    symbols={"&": "e", "@": "chiocciola", "+": "più", "=": "uguale a", "°": "gradi"},
)

PORTUGUESE = Language(
    code="pt",
    minus="menos",
    point="vírgula",
    to="a",
    cents="e",
    of="de",
    hour="{hour} horas",
    half_hour="{hour} e {minute}",
    day="{day} de {month} de {year}",
    scales="mil|milh(?:ão|ões)|bilh(?:ão|ões)",
    ones={},
    feminine={"um": "uma", "dois": "duas"},
    months="janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro "
    "dezembro",
    currencies=_table(
        "R$ real reais centavo centavos, BRL real reais centavo centavos, € euro euros centavo "
        "centavos, EUR euro euros centavo centavos, US$ dólar dólares centavo centavos, $ dólar "
        "dólares centavo centavos, USD dólar dólares centavo centavos, £ libra libras penny "
        "pence, ¥ iene ienes"
    ),
    units=_table(
        "% por_cento por_cento, km quilômetro quilômetros, m metro metros, cm centímetro "
        "centímetros, mm milímetro milímetros, kg quilograma quilogramas, g grama gramas, l "
        "litro litros, km/h quilômetro_por_hora quilômetros_por_hora, °C grau_Celsius "
        "graus_Celsius, ° grau graus"
    ),
    fractions={"1/2": "meio", "1/3": "um terço", "2/3": "dois terços"}
    | {"1/4": "um quarto", "3/4": "três quartos"},
    abbreviations={
        "Sr.": "Senhor",
        "Sra.": "Senhora",
        "Srta.": "Senhorita",
        "Dr.": "Doutor",
        "Dra.": "Doutora",
        "Prof.": "Professor",
        "etc.": "et cetera",
        "Av.": "Avenida",
        "p. ex.": "por exemplo",
    },
    symbols={"&": "e", "@": "arroba", "+": "mais", "=": "igual a", "°": "graus"},
)

SPANISH = Language(
    code="es",
    minus="menos",
    point="coma",
    to="a",
    cents="con",
    of="de",
    hour="{hour} en punto",
    half_hour="{hour} y {minute}",
    day="{day} de {month} de {year}",
    scales="mil|mill(?:ón|ones)",
    ones={"veintiuno": "veintiún", "uno": "un"},
    feminine={"veintiuno": "veintiuna", "uno": "una"},
    months="enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
    currencies=_table(
        "€ euro euros céntimo céntimos, EUR euro euros céntimo céntimos, $ dólar dólares "
        "centavo centavos, USD dólar dólares centavo centavos, £ libra libras penique peniques, "
        "CHF franco_suizo francos_suizos céntimo céntimos, ¥ yen yenes"
    ),
    units=_table(
        "% por_ciento por_ciento, km kilómetro kilómetros, m metro metros, cm centímetro "
        "centímetros, mm milímetro milímetros, kg kilogramo kilogramos, g gramo gramos, l litro "
        "litros, km/h kilómetro_por_hora kilómetros_por_hora, °C grado_Celsius grados_Celsius, "
        "° grado grados"
    ),
    fractions={"1/2": "un medio", "1/3": "un tercio", "2/3": "dos tercios"}
    | {"1/4": "un cuarto", "3/4": "tres cuartos"},
    abbreviations={
        "Sr.": "señor",
        "Sra.": "señora",
        "Srta.": "señorita",
        "Dr.": "doctor",
        "Dra.": "doctora",
        "Ud.": "usted",
        "Uds.": "ustedes",
        "EE. UU.": "Estados Unidos",
        "etc.": "etcétera",
        "p. ej.": "por ejemplo",
        "Avda.": "Avenida",
    },
    symbols={"&": "y", "@": "arroba", "+": "más", "=": "igual a", "°": "grados"},
)

DUTCH = Language(
    code="nl",
    minus="min",
    point="komma",
    to="tot",
    cents="",
    of="",
    hour="{hour} uur",
    half_hour="{hour} uur {minute}",
    day="{day} {month} {year}",
    scales="duizend|miljoen|miljard",
    ones={},
    feminine={},
    months="januari februari maart april mei juni juli augustus september oktober november "
    "december",
    currencies=_table(
        "€ euro euro cent cent, EUR euro euro cent cent, $ dollar dollar cent cent, USD dollar "
        "dollar cent cent, £ pond pond penny pence, CHF Zwitserse_frank Zwitserse_frank rappen "
        "rappen, ¥ yen yen"
    ),
    units=_table(
        "% procent procent, km kilometer kilometer, m meter meter, cm centimeter centimeter, mm "
        "millimeter millimeter, kg kilogram kilogram, g gram gram, l liter liter, km/u "
        "kilometer_per_uur kilometer_per_uur, km/h kilometer_per_uur kilometer_per_uur, °C "
        "graad_Celsius graden_Celsius, ° graad graden"
    ),
    fractions={"1/2": "een half", "1/3": "een derde", "2/3": "twee derde"}
    | {"1/4": "een kwart", "3/4": "drie kwart"},
    abbreviations={
        "dhr.": "de heer",
        "Dhr.": "De heer",
        "mevr.": "mevrouw",
        "Mevr.": "Mevrouw",
        "dr.": "dokter",
        "prof.": "professor",
        "bijv.": "bijvoorbeeld",
        "enz.": "enzovoort",
        "d.w.z.": "dat wil zeggen",
        "o.a.": "onder andere",
        "nr.": "nummer",
    },
    symbols={"&": "en", "@": "apenstaartje", "+": "plus", "=": "is", "°": "graden"},
)

LANGUAGES = {
    language.code: language for language in (FRENCH, GERMAN, ITALIAN, PORTUGUESE, SPANISH, DUTCH)
}
