"""A word of the user's text with its time in the audio."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class SpokenWord:
    """A word and when it is heard, in seconds from the start of the audio.

    `text` is the user's text from `first_character` to `last_character` (exclusive), without the
    marks around it; `chunk` counts the pieces in which a text is spoken, from 0.
    """

    text: str
    start: float
    end: float
    chunk: int
    first_character: int
    last_character: int

    def at_speed(self, speed: float) -> "SpokenWord":
        """The same word in audio that is played at `speed` times the pace."""
        return replace(self, start=self.start / speed, end=self.end / speed)

    def later(self, seconds: float, characters: int = 0) -> "SpokenWord":
        """The same word after other audio of so many seconds, and other text."""
        return replace(
            self,
            start=self.start + seconds,
            end=self.end + seconds,
            first_character=self.first_character + characters,
            last_character=self.last_character + characters,
        )
