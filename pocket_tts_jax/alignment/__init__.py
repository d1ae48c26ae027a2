"""When each word of the user's text is spoken, from the model's attention and its audio."""
