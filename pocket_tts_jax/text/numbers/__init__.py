"""Numbers, dates, money and abbreviations written as words (opt-in)."""
