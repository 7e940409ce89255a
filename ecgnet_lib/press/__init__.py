"""What turns pages into a book: strict execution, recorded values, freshness keys, the build."""
