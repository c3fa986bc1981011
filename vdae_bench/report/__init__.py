"""Reports: pages, figures and CSV, drawn from records alone. The same records give the same bytes.

Five rooms, each importing from those before it: `numbers` and `style` (which do not know each other), `sections`
(blind to each other), `pages`, and `site`, the home over all of them; `build`, `explain` and `compare` stand above
them. A column of the results table is a line in `numbers.columns.COLUMNS`; a section is a file in `sections` and a line
in `pages.sweep.SECTIONS`.
"""
