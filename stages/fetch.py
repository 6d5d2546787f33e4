"""fetch DATASET: bring the original files of a data set within reach, checked.

writes data/raw/DATASET/: the downloaded archives, or for a folder that the user has, its inventory
"""

from common import ROOT, stage

from hashrepro.datasets.base import load_reader
from hashrepro.delivery.fetching import fetch
from hashrepro.settings import load_settings


@stage
def main(name: str) -> None:
    settings = load_settings(ROOT)
    block = settings.dataset(name)
    raw, places = ROOT / "data" / "raw" / name, settings.archive_places(ROOT, name)
    fetch(name, load_reader(block.reader), block.own_folder(ROOT), raw, places)


if __name__ == "__main__":
    main()
