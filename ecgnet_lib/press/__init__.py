"""What turns pages into a book: strict execution, recorded values, freshness keys, the build.

Pages take two things from here: `record`, for values that others quote, and `show_source`.
"""

import sys

from ecgnet_lib.press.record import record, show_source

__all__ = ["record", "show_source"]

# A grammar of international web addresses, for a check that no notebook needs: jsonschema does
# without it where it is missing, and every command starts a second sooner.
sys.modules.setdefault("rfc3987_syntax", None)
