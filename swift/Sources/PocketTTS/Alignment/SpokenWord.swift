/// A word of the user's text and when it is heard.
public struct SpokenWord: Sendable, Equatable {
    /// The user's text at `characters`, without the marks around the word.
    public let text: String
    /// Seconds from the start of the audio, at the speed in which it is played.
    public let start: Double
    /// Seconds from the start of the audio, not before `start`.
    public let end: Double
    /// The chunk of text that is spoken, counted from 0.
    public let chunk: Int
    /// Where the word stands, in Unicode scalars from the beginning of the user's text. In a session
    /// that is all text that was enqueued.
    public let characters: Range<Int>

    /// The same word in audio of another pace, behind other audio of so many seconds.
    func heard(atSpeed speed: Double, after seconds: Double) -> SpokenWord {
        SpokenWord(
            text: text, start: start / speed + seconds, end: end / speed + seconds, chunk: chunk,
            characters: characters)
    }
}
