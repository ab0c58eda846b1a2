"""Row flags: what says which rows there are and how they become token files, in every command that reads rows."""

from __future__ import annotations

from dataclasses import dataclass

from interface.flags import flag


@dataclass(frozen=True, kw_only=True)
class RowFlags:
    """The first eight are those of data_processing.row_source.RowSource, which checks them."""

    dataset_name: str | None = flag(
        None, "dataset script, dataset on the Hub or folder of one; default: data_processing/code_clippy.py", "data"
    )
    dataset_config_name: str | None = flag(None, "configuration of the dataset", "data")
    data_dir: str | None = flag(None, "folder of the corpus, here or behind gs://, hf://, https://", "data")
    train_file: str | None = flag(
        None, "one file of rows instead of a dataset: jsonl.zst, jsonl, json, csv, txt, parquet", "data"
    )
    validation_file: str | None = flag(None, "the same for validation; default: a part of --train_file", "data")
    validation_split_percentage: int = flag(
        5, "percent of the train rows that validate, where no split is for that", "data"
    )
    languages: str | None = flag(None, "keep files of these languages, by their own extensions: Python,C++", "data")
    text_column_name: str = flag("text", "column that holds the text", "data")
    preprocessing_num_workers: int | None = flag(None, "tokenising processes; default: one for each core", "data")
    cache_limit_gb: float | None = flag(
        None, "keep at most this much of the train split's token files; they are made again when wanted", "data"
    )
    overwrite_cache: bool = flag(False, "tokenise again what is in token_cache_dir already", "data")
