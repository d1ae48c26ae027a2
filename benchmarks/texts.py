"""The texts to speak. Imports nothing, because timed processes read it too."""

TEXT = "The train was late again, so we walked home."
BATCH_TEXT = "We walked home."  # a batch of 16 lasts as long as 16 texts
QUICK_TEXT = "Hello."
