"""A sweep's results: records, ledger, ranking, front, summary and download. No torch."""
