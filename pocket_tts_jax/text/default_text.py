"""What is said where the user wrote no text, in the language of the model."""

ENGLISH = "Hello! This is a voice that was made on this computer, while you wait."

_TEXTS = {
    "dutch": "Hallo! Deze stem is op deze computer gemaakt, terwijl je wacht.",
    "french": "Bonjour ! Cette voix est née sur cet ordinateur, pendant que vous attendez.",
    "german": "Hallo! Diese Stimme ist auf diesem Computer entstanden, während du wartest.",
    "italian": "Ciao! Questa voce è nata su questo computer, mentre aspetti.",
    "portuguese": "Olá! Esta voz foi feita neste computador, enquanto você espera.",
    "spanish": "¡Hola! Esta voz se ha creado en este ordenador, mientras esperas.",
}


def default_text(model: str | None) -> str:
    """A sentence in the language that the name of a model says ("french_24l"), else in English."""
    return next((text for name, text in _TEXTS.items() if name in (model or "")), ENGLISH)
