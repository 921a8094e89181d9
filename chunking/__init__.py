"""Documents into chunks: text in, a list of `Chunk` out. Pure: no Django, no torch, no model of its own.

What a strategy needs besides the text (an embedder, a language model, a tokenizer) arrives as an argument.
"""
