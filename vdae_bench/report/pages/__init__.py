"""What is written: the page of a sweep, the long runs, the page for a browser, the console, tables as files."""
