"""What a trained network is and what it sees: `encoder.json`, without the network itself."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hashrepro.files import read_json, value_digest, write_json
from hashrepro.search.folder import damaged

VERSION = 1
WEIGHTS, ABOUT = "model.safetensors", "encoder.json"


@dataclass(frozen=True)
class View:
    """What a data set's networks see of an image: see `images.building.build_cache` for the values."""

    resize: int
    crop: int
    upright: bool = False
    crop_bottom: int = 0


@dataclass(frozen=True)
class About:
    """All that is needed to build a run's network again and to show it images; `encoder.json`.

    Attributes:
        run: key of the run that trained it.
        recipe: the recipe that it was trained by, whatever params.yaml says today.
        classes: number of classes of its data set.
        model: SHA-256 of the file of its weights.
    """

    run: str
    method: str
    recipe: dict
    bits: int
    classes: int
    seed: int
    view: View
    model: str

    @property
    def batch_size(self) -> int:
        """Images in a forward pass: of the protocol where a network looks across its batch."""
        return self.recipe["evaluation_batch_size"]

    @property
    def digest(self) -> str:
        """Changes with whatever changes a code."""
        return value_digest({"version": VERSION, **asdict(self)})

    def write(self, folder: Path) -> None:
        write_json(folder / ABOUT, {"version": VERSION, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> "About":
        """Read what `write` wrote.

        Raises:
            UserError: the file is missing, of another version, or damaged.
        """
        path = Path(folder) / ABOUT
        try:
            values = read_json(path)
            if (version := values.pop("version")) != VERSION:
                raise ValueError(f"it is of version {version}, this is version {VERSION}")
            return cls(**{**values, "view": View(**values["view"])})
        except FileNotFoundError:
            raise damaged("This folder has no encoder.", path) from None
        except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(f"The encoder cannot be read: {error}", path) from error
