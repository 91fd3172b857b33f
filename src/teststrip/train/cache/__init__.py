"""What a frozen model says of pictures and words, computed once and kept by content.

store     tensors by key, in memory and on disk; damaged entries are made again
latents   mean and deviation of a picture's latents for each crop and flip
texts     hidden states of captions
"""
