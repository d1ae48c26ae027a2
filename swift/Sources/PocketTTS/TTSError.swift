/// What can go wrong, each with a sentence that says what to do.
public enum TTSError: Error, Equatable, Sendable {
    /// The model folder is missing, damaged, or of a format this package does not read.
    case folder(String)
    /// The tokenizer file cannot be used.
    case tokenizer(String)
    /// There is nothing to speak, or the text cannot be read in the language asked for.
    case text(String)
    /// The voice is unknown, unreadable, or was made for another model.
    case voice(String)
    /// An option is outside its range, or the model cannot follow it.
    case option(String)
    /// Speech could not be computed from valid input.
    case generation(String)

    /// The sentence.
    public var message: String {
        switch self {
        case .folder(let text), .tokenizer(let text), .text(let text), .voice(let text),
            .option(let text), .generation(let text):
            return text
        }
    }
}

extension TTSError: CustomStringConvertible {
    public var description: String { message }
}
