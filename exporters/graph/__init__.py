"""What is exported: the functions of the model, rewritten for a phone."""
