"""The network: CBAM, graph attention over the leads, Time Series Transformer (pages 3 to 6).

One module a block (`cbam`, `gat`, `tst`), the whole in `ecgnet`, the rhythm branch in `rhythm`;
`inference` averages over crops, `checkpoint` reads and writes weights, `baselines` are published
networks to compare with.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
