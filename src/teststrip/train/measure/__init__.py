"""What is measured while a model is trained, and what is written down of it.

measures    what the loop calls
held_out    the loss on pictures that are never trained on
smoothing   a loss curve that can be read
memory      how much of it was taken
written     files of lines that only grow
"""
