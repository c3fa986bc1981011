"""The home of all reports: one page over every protocol and sweep, and the same page while something runs.

`content` says what is on it, `pictures` makes its images small, `home` writes it; `live` and `server` are of
`vdae-bench watch`. The charts are uPlot's (`uplot/README.md` says why).
"""
