"""Reports: pages, figures and CSV, drawn from records alone. The same records give the same bytes."""
