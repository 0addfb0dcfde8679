"""CSV and TSV by pyarrow, which unlike pandas and the library `datasets` keeps "NA" and "007" as people write them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from gaplib.datasets.pairs import each_once
from gaplib.datasets.shown import reason


def read(path: Path, types: Callable[[list[str]], dict[str, pa.DataType]], delimiter: str = ",") -> pa.Table:
    """A table of which only an empty cell is missing; `types` says of its names of which type some columns are.

    ValueError if it is no such table, has a column twice, or a cell that is not of the type of its column.
    """
    with path.open("rb") as file:
        if b"\0" in file.read(4096):
            told = "it is a binary file, or text of another encoding; save the table as a UTF-8 CSV"
            raise ValueError(f"{path} cannot be read: {told}")
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    threads = csv.ReadOptions(use_threads=False)  # so that an error tells the row
    try:
        with csv.open_csv(path, parse_options=parse) as head:
            names = head.schema.names
        each_once(names, path)
        convert = csv.ConvertOptions(column_types=types(names), null_values=[""], strings_can_be_null=True)
        return csv.read_csv(path, read_options=threads, parse_options=parse, convert_options=convert)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        what = f"{path} cannot be read as a UTF-8 CSV with a header line and rows"
        raise ValueError(f"{what} ({reason(error)})") from error
