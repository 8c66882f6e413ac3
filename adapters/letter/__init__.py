"""Rendering of letters: in the reader's language, as HTML and as plain text (TXT-1)."""
