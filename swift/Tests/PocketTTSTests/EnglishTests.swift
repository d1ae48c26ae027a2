import XCTest

@testable import PocketTTS

/// The reading of numbers and abbreviations, against the Python package's golden cases and against
/// what it makes of random texts.
final class EnglishTests: XCTestCase {
    func testGoldenReadings() throws {
        let golden = try Fixtures.golden("normalize.json", as: [String: [String: String]].self)
        let english = try XCTUnwrap(golden["english"])
        for (text, expected) in english {
            XCTAssertEqual(String(readEnglish(Traced(text.scalars), asciiOnly: false).scalars), expected, text)
        }
        XCTAssertGreaterThanOrEqual(english.count, 200)
    }

    func testRandomTexts() throws {
        var mistakes: [String] = []
        let cases = try Fixtures.read("english", as: [[String]].self)
        for one in cases {
            for (asciiOnly, expected) in [(false, one[1]), (true, one[2])] {
                let found = readEnglish(Traced(one[0].scalars), asciiOnly: asciiOnly).scalars
                if found != expected.scalars {
                    mistakes.append(
                        "\(one[0].debugDescription): \(String(found).debugDescription), not \(expected.debugDescription)")
                }
            }
        }
        XCTAssert(
            mistakes.isEmpty, "\(mistakes.count) of \(2 * cases.count) differ\n\(mistakes.prefix(12).joined(separator: "\n"))")
    }

    func testAbbreviationsEndNoSentence() {
        for text in ["Dr.", "at 5 p.m.", "on Jan.", "J.", "e.g.", "No.", "(approx.", "the U.S."] {
            XCTAssert(EnglishWords.endsInAbbreviation(text.scalars[...]), text)
        }
        for text in ["He went.", "Why?", "in 1984.", "stop!", "\"Yes.\""] {
            XCTAssertFalse(EnglishWords.endsInAbbreviation(text.scalars[...]), text)
        }
    }
}
