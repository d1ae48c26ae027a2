"""Files on disk and on the network: atomic writes, downloads, addresses."""
