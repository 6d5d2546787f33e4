"""SCHN as published at MM Asia 2021: one Adam over everything, the modalities ask in the reconstructing attentions."""

from hashrepro.learning.cycle import CycleMethod


class SCHN(CycleMethod):
    TITLE = "SCHN"
    PAPER = "SCHN, ACM Multimedia Asia 2021, doi:10.1145/3469877.3490583"


METHOD = SCHN
