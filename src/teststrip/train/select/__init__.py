"""Select: which checkpoint of a training run, by a stated rule, or none and why.

    measured   what a run left behind: checkpoints, held-out losses, scores of its samples
    criterion  one question to all checkpoints at once, by the paired tests of `evidence`
    seeds      does a gain of the pictures hold beyond the few seeds that all prompts share
    trend      does the held-out loss rise again (over-fitted), fall still, or neither
    copies     checkpoints whose pictures come too near to a training picture
    rule       these together: the answer, or why there is none
    words      the same for people
    sweep      the study `checkpoint x scale` that the answer is tried in

The rule itself, with its error rates on simulated truth, is in docs/training-select.md.
"""
