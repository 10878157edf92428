"""`protocol: console`: any text device as a place for one workload (docs/adr/0011). Pure."""
