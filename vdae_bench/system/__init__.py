"""The machine: files written at once, leases, processes, devices, and strict readers of JSON and YAML."""
