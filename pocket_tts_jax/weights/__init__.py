"""Where weights come from, and whether they are the ones that were expected."""
