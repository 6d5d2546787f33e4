"""ADSH: Asymmetric Deep Supervised Hashing (AAAI 2018), the control that SEMICON and SCHN both descend from.

One network for the query side, free binary codes for the database; see `pairwise` for loss and update.
"""

from hashrepro.learning.pairwise import PairwiseMethod
from hashrepro.networks.adsh import HashNetwork


class ADSH(PairwiseMethod):
    TITLE = "ADSH"
    PAPER = "Asymmetric Deep Supervised Hashing, AAAI 2018"

    @classmethod
    def build_network(cls, recipe, backbone, bits, classes) -> HashNetwork:
        return HashNetwork(backbone, bits)


METHOD = ADSH
