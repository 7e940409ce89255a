from . import (
    archive,
    dataset,
    download,
    labels,
    records,
    simulated,
    sources,
    splits,
    tables,
    wfdb_files,
)
from .dataset import Dataset, load
from .labels import CLASSES, DISEASES, label_map
from .records import LEADS, in_standard_order, read, read_many, resample
from .simulated import cohort
from .sources import SOURCES, locate, state
from .splits import audit, duplicates, kfold, merge_duplicates, official
from .tables import challenge_table, likelihoods, ludb_table
