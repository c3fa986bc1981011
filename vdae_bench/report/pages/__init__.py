"""The pages that are written: a sweep's, the long runs, claims, reliability, one for a browser; tables as files."""
