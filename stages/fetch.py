"""fetch DATASET: bring the original files of a data set within reach, checked.

writes data/raw/DATASET/: the downloaded archives, or for a folder that the user has, its inventory
"""

from common import ROOT, stage

from hashrepro.datasets.base import load_reader
from hashrepro.datasets.fetching import fetch
from hashrepro.settings import load_settings


@stage
def main(name: str) -> None:
    block = load_settings(ROOT).dataset(name)
    folder = ROOT / block.folder if block.folder else None
    fetch(name, load_reader(block.reader), folder, ROOT / "data" / "raw" / name)


if __name__ == "__main__":
    main()
