"""A portfolio as its file says it, and those that are shipped with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from hoir_ray.config import Config, explain
from hoir_ray.errors import SpecError
from hoir_ray.spec.document import dump_document, load_document
from hoir_ray.spec.parameters import Scalar

FORMAT = 1
SHIPPED = Path(__file__).parent / "shipped"

Configuration = Annotated[dict[str, Scalar], Field(min_length=1, max_length=1000)]


class Band(Config):
    """Configurations for networks up to a size, the one that is to be tried first in front.

    Attributes:
        max_parameters: Of a network; None for any.
    """

    max_parameters: int | None = Field(default=None, ge=1)
    configurations: tuple[Configuration, ...] = Field(max_length=1000)


class Portfolio(Config):
    """Portfolio: configurations to try before the first point of the search.

    Attributes:
        format: Of the file.
        sources: Names of the sweeps from which it was learned.
        bands: From large to small.
    """

    format: int = FORMAT
    task: str
    metric: str
    sources: tuple[str, ...] = ()
    bands: tuple[Band, ...] = Field(min_length=1, max_length=100)


def load_portfolio(path: Path) -> Portfolio:
    """Read a portfolio.

    Raises:
        SpecError: In one line: if it cannot be read or is of a newer format.
    """
    data = load_document(path).data
    version = data.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise SpecError(
            f"{path}: is a portfolio of format {version}, this version reads up to {FORMAT}; update hoir-ray"
        )
    try:
        return Portfolio.model_validate(data)
    except ValidationError as error:
        where, complaint = explain(error, known=list(Portfolio.model_fields))[0]
        raise SpecError(
            f"{path}: is no portfolio that `hoir learn` wrote: {where or 'the file'}: {complaint}"
        ) from None


def shipped_portfolio(task: str) -> Portfolio | None:
    """The package's own for a task, if there is one."""
    path = SHIPPED / f"{task}.yaml"
    return load_portfolio(path) if path.is_file() else None


def dump_portfolio(portfolio: Portfolio) -> str:
    """The file's text."""
    return dump_document(portfolio.model_dump(mode="json", exclude_none=True))
