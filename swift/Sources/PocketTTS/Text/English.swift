func readEnglish(_ text: Scalars, asciiOnly: Bool) -> Scalars { text }
func endsInAbbreviation(_ text: ArraySlice<Unicode.Scalar>) -> Bool { false }
