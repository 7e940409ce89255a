"""What turns pages into a book: strict execution, recorded values, freshness keys, the build."""

import sys

# A grammar of international web addresses, for a check that no notebook needs: jsonschema does
# without it where it is missing, and every command starts a second sooner.
sys.modules.setdefault("rfc3987_syntax", None)
