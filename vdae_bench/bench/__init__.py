"""`vdae-bench bench`: our steps beside other ways of taking them, interleaved in one run on one machine.

`cases` declares the comparisons and their targets, `ours` and `peers` build the two sides, `timing` measures,
`entries` are the raw file, `run` ties them together. The page is drawn by `page`.
"""
