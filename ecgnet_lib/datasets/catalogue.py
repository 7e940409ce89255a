"""The databases that the book knows: where published, under which licence, how to cite."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

PHYSIONET = "https://physionet.org/files/"

_CC_BY = "CC BY 4.0"
_ODC_BY = "ODC-By 1.0"


@dataclass(frozen=True)
class Source:
    """A database of recordings.

    name       what the pages and the command line call it
    version    the publisher's release that is fetched
    folder     its folder on PhysioNet, in a copy of PhysioNet, and under data/; "" if embedded
    keep       only files whose path starts so belong to it ("" for all)
    headers    pattern of its recordings' header files, relative to its folder
    recordings how many there are in the whole publication
    size_mb    about how much is fetched, in megabytes
    """

    name: str
    title: str
    version: str
    folder: str
    licence: str
    citation: str
    doi: str
    recordings: int
    size_mb: int
    headers: str
    keep: str = ""

    @property
    def url(self) -> str:
        """Where the files are; ECGNET_PHYSIONET names a mirror in place of PhysioNet."""
        if not self.folder:
            return ""
        base = os.environ.get("ECGNET_PHYSIONET") or PHYSIONET
        return f"{base.rstrip('/')}/{self.folder}/{self.version}/"


_PTBXL = Source(
    name="ptbxl",
    title="PTB-XL",
    version="1.0.3",
    folder="ptb-xl",
    licence=_CC_BY,
    citation="Wagner P, Strodthoff N, Bousseljot R-D, Kreiseler D, Lunze FI, Samek W, "
    "Schaeffter T. PTB-XL, a large publicly available electrocardiography dataset. "
    "Scientific Data 7:154, 2020. doi:10.1038/s41597-020-0495-6",
    doi="10.13026/kfzx-aw45",
    recordings=21_799,
    size_mb=540,  # at 100 Hz; 2,650 at 500 Hz
    headers="records*/*/*.hea",
)

_CHALLENGE = Source(
    name="challenge-2021",
    title="PhysioNet/CinC Challenge 2021, training data",
    version="1.0.3",
    folder="challenge-2021",
    licence=f"{_CC_BY}; ptb and st_petersburg_incart {_ODC_BY}",
    citation="Reyna MA, Sadr N, Perez Alday EA, Gu A, Shah AJ, Robichaux C, et al. Will two do? "
    "Varying dimensions in electrocardiography: the PhysioNet/Computing in Cardiology Challenge "
    "2021. Computing in Cardiology 48, 2021. doi:10.23919/CinC53138.2021.9662687",
    doi="10.13026/34va-7q14",
    recordings=88_253,
    size_mb=13_500,
    headers="training/**/*.hea",
    keep="training/",
)

# folder of the Challenge: recordings, about how many megabytes, licence
_CHALLENGE_PARTS = {
    "chapman_shaoxing": (10_247, 1_240, _CC_BY),
    "cpsc_2018": (6_877, 1_170, _CC_BY),
    "cpsc_2018_extra": (3_453, 600, _CC_BY),
    "georgia": (10_344, 1_250, _CC_BY),
    "ningbo": (34_905, 4_220, _CC_BY),
    "ptb": (516, 1_330, _ODC_BY),
    "ptb-xl": (21_837, 2_640, _CC_BY),
    "st_petersburg_incart": (74, 820, _ODC_BY),
}

_ALL = (
    Source(
        name="simulated",
        title="Virtual patients",
        version="",
        folder="",
        licence="MIT",
        citation="Made by ecgnet_lib.simulation.simulator; no recording of a person.",
        doi="",
        recordings=0,
        size_mb=0,
        headers="",
    ),
    # Release 1.0.1: the one whose files the checksums in data/ptbxl-500.sha256 were taken from.
    replace(
        _PTBXL,
        name="ptbxl-500",
        title="PTB-XL recordings 1-500",
        version="1.0.1",
        doi="10.13026/x4td-x982",
        recordings=500,
        size_mb=18,  # at 100 Hz, whole table included; 67 at 500 Hz
    ),
    _PTBXL,
    Source(
        name="ludb",
        title="Lobachevsky University Database (LUDB)",
        version="1.0.1",
        folder="ludb",
        licence=_ODC_BY,
        citation="Kalyakulina AI, Yusipov II, Moskalenko VA, Nikolskiy AV, Kosonogov KA, "
        "Osipov GV, Zolotykh NYu, Ivanchenko MV. LUDB: a new open-access validation tool for "
        "electrocardiogram delineation algorithms. IEEE Access 8:186181-186190, 2020. "
        "doi:10.1109/ACCESS.2020.3029211",
        doi="10.13026/eegm-h675",
        recordings=200,
        size_mb=25,
        headers="data/*.hea",
    ),
    _CHALLENGE,
    *(
        replace(
            _CHALLENGE,
            name=f"challenge-2021/{part}",
            title=f"Challenge 2021, {part}",
            licence=licence,
            recordings=recordings,
            size_mb=size_mb,
            headers=f"training/{part}/**/*.hea",
            keep=f"training/{part}/",
        )
        for part, (recordings, size_mb, licence) in _CHALLENGE_PARTS.items()
    ),
    Source(
        name="nstdb",
        title="MIT-BIH Noise Stress Test Database",
        version="1.0.0",
        folder="nstdb",
        licence=_ODC_BY,
        citation="Moody GB, Muldrow WE, Mark RG. A noise stress test for arrhythmia detectors. "
        "Computers in Cardiology 11:381-384, 1984.",
        doi="10.13026/C2HS3T",
        recordings=15,
        size_mb=60,
        headers="*.hea",
    ),
    Source(
        name="mitdb",
        title="MIT-BIH Arrhythmia Database",
        version="1.0.0",
        folder="mitdb",
        licence=_ODC_BY,
        citation="Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE "
        "Engineering in Medicine and Biology 20(3):45-50, 2001.",
        doi="10.13026/C2F305",
        recordings=48,
        size_mb=104,
        headers="*.hea",
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
