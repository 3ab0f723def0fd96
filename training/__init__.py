"""labels → training set → model: the only importer of torch and anomalib."""
