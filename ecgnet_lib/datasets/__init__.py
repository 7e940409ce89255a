"""Recordings, their labels and their splits (page 1).

`load` gives a `Dataset` by name. Below it: what databases there are and where they lie or come from
(`sources`, `download`), reading (`records`, `wfdb_files`), a fast copy (`archive`), statements and
classes (`tables`, `labels`), patient-disjoint splits (`splits`).
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    [
        *("archive", "dataset", "download", "labels", "records"),
        *("simulated", "sources", "splits", "tables", "wfdb_files"),
    ],
    {
        "dataset": ["Dataset", "load"],
        "labels": ["CLASSES", "DISEASES", "label_map"],
        "records": ["LEADS", "in_standard_order", "read", "read_many", "resample"],
        "simulated": ["cohort"],
        "sources": ["SOURCES", "locate", "state"],
        "splits": ["audit", "duplicates", "kfold", "merge_duplicates", "official"],
        "tables": ["challenge_table", "likelihoods", "ludb_table"],
    },
)
