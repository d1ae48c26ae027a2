"""The times of the user's words, from the model's attention and its audio."""
